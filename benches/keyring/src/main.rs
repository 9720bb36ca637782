//! Prints the item that git-credential-wit keeps for `https://example.com`.

use zbus_secret_service_keyring_store::Store;

fn main() -> Result<(), keyring_core::Error> {
    keyring_core::set_default_store(Store::new()?);
    let entry = keyring_core::Entry::new("git-credential-wit", "https://example.com")?;
    println!("{}", entry.get_password()?);
    Ok(())
}
