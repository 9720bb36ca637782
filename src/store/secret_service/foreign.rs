//! The items of other programs, read and left as they are.

use super::{
    Attributes, Found, I_ITEM, Needed, SecretService, ask_property, attributes_in, nonsense,
    secret_at,
};
use crate::secret::Secret;
use crate::store::StoreError;

/// An item that another program keeps.
pub struct ForeignItem {
    /// As a keyring manager shows it.
    pub label: String,
    /// Attributes by which it is found.
    pub attributes: Attributes,
    /// The secret.
    pub secret: Secret,
}

impl SecretService {
    /// Every item of a libsecret schema, which is unlocked first.
    pub fn items_of_schema(&self, schema: &str) -> Result<Vec<ForeignItem>, StoreError> {
        self.items_with(&[("xdg:schema", schema)])
    }

    /// Every item with these attributes, which is unlocked first.
    pub fn items_with(&self, attributes: &[(&str, &str)]) -> Result<Vec<ForeignItem>, StoreError> {
        let wanted = attributes.iter();
        let wanted: Attributes = wanted
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect();
        self.with_items(&wanted, Needed::All, |connection, found| {
            let mut items = Vec::with_capacity(found.open.len());
            for path in &found.open {
                let label = ask_property(&mut connection.bus, I_ITEM, path, "Label");
                let attributes = ask_property(&mut connection.bus, I_ITEM, path, "Attributes");
                let label = connection.bus.reply(label)?;
                let mut label = label.body("v")?;
                label.variant("s")?;
                let attributes = attributes_in(&connection.bus.reply(attributes)?)?;
                let Found::Secret(secret) = secret_at(connection, path)? else {
                    return Err(nonsense().into());
                };
                items.push(ForeignItem {
                    label: label.string()?.to_owned(),
                    attributes,
                    secret,
                });
            }
            Ok(items)
        })
    }
}
