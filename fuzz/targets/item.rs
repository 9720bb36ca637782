//! What lies in a store, whoever wrote it.
#![no_main]

use libfuzzer_sys::fuzz_target;
use wit::credential::Site;
use wit::item::Item;
use wit::secret::Secret;

fuzz_target!(|bytes: &[u8]| {
    let site = Site::new(b"https", b"host").unwrap();
    if let Ok(item) = Item::decode(&site, &Secret::new(bytes.to_vec())) {
        assert_eq!(Item::decode(&site, &item.encode(&site)), Ok(item));
    }
});
