//! A config file that somebody edited.
#![no_main]

use libfuzzer_sys::fuzz_target;
use wit::config::Config;

fuzz_target!(|text: &[u8]| {
    let Ok(config) = serde_json::from_slice::<Config>(text) else {
        return;
    };
    // Another program's numbers may be rounded; what is ours is as it was.
    let written = serde_json::to_vec(&config).unwrap();
    let again: Config = serde_json::from_slice(&written).unwrap();
    assert_eq!(config.store, again.store);
    assert_eq!(config.renew, again.renew);
    assert_eq!(config.default_server, again.default_server);
    assert_eq!(config.servers, again.servers);
});
