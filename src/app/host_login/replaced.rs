//! The sign-in whose place another of the same account has taken: nobody has its tokens any more, so
//! they are not to live on at the host.

use super::{Host, HostLoginError, Notice};
use crate::credential::Credential;
use crate::expiry::{Expiry, UnixTime};
use crate::hosts::end::{End, end};
use crate::hosts::{account, grants_page, password, tokens_page};
use crate::secret::Secret;
use crate::sign_in::{SignIn, Upkeep};
use crate::store::{self, Store};

impl Host<'_> {
    /// Ends what is replaced, and tells what lives on. The new sign-in is stored already.
    pub(super) fn end_replaced(
        &self,
        replaced: &Credential,
        new: &Credential,
        password: Option<&(Secret, Option<Secret>)>,
        store: &dyn Store,
    ) -> Result<(), HostLoginError> {
        let Some(sign_in) = &replaced.sign_in else {
            return Ok(());
        };
        // The same token, pasted once more.
        if replaced.auth.secret() == new.auth.secret() {
            return Ok(());
        }
        match &sign_in.upkeep {
            Upkeep::Mint(_) => {
                end(replaced, sign_in, &self.server, &self.reach);
            }
            Upkeep::Replace { id, name } => {
                self.revoke_created(id, name, sign_in.account.as_deref(), password);
            }
            Upkeep::Refresh(_) => return self.end_grant(replaced, sign_in, new, store),
            Upkeep::RotateItself | Upkeep::Watch => self.tell_of_pasted(replaced, sign_in),
        }
        Ok(())
    }

    /// Revokes a token that an earlier sign-in had created by a password.
    fn revoke_created(
        &self,
        id: &str,
        name: &str,
        account: Option<&str>,
        password: Option<&(Secret, Option<Secret>)>,
    ) {
        let revoked = match (password, account) {
            (Some((password, code)), Some(username)) => {
                let code = code.as_ref();
                let login = password::Login {
                    username,
                    password,
                    code,
                };
                password::revoke(self.kind, &self.server, &login, id, &self.reach).map_err(Some)
            }
            _ => Err(None),
        };
        let page = grants_page(self.kind, &self.server);
        self.ask.tell(&match &revoked {
            Ok(()) => Notice::ReplacedRevoked { name },
            Err(error) => Notice::ReplacedWorks {
                name,
                error: error.as_ref(),
                page: page.as_ref(),
            },
        });
    }

    /// Ends the grant of an earlier sign-in. A server may take all sign-ins of an account by one client
    /// for one, and end the new one too.
    fn end_grant(
        &self,
        replaced: &Credential,
        sign_in: &SignIn,
        new: &Credential,
        store: &dyn Store,
    ) -> Result<(), HostLoginError> {
        // The host has ended it by itself, or gave the same grant again.
        let is_same = new.refresh_token.is_some() && new.refresh_token == replaced.refresh_token;
        if sign_in.ended || is_same {
            return Ok(());
        }
        let accepts = || {
            let secret = new.auth.secret();
            account::accepts(self.kind, &self.server, secret, false, &self.reach)
        };
        let before = accepts();
        let page = grants_page(self.kind, &self.server);
        let error = match end(replaced, sign_in, &self.server, &self.reach) {
            End::Revoked => {
                if matches!((before, accepts()), (Ok(Some(true)), Ok(Some(false)))) {
                    self.forget_ended(new, store)?;
                    return Err(HostLoginError::EndedTogether(self.url()));
                }
                self.ask.tell(&Notice::GrantEnded);
                return Ok(());
            }
            End::Impossible => None,
            End::Failed(error) => Some(error),
        };
        self.ask.tell(&Notice::GrantWorks {
            host: self.kind,
            error: error.as_ref(),
            page: page.as_ref(),
        });
        Ok(())
    }

    /// Git is not to be given a token that is dead.
    fn forget_ended(&self, new: &Credential, store: &dyn Store) -> Result<(), HostLoginError> {
        store::update(store, self.paths, &self.site, |item| {
            let mut entries = item.credentials.0.iter_mut();
            let held = entries.find(|entry| entry.auth.secret() == new.auth.secret());
            if let Some(entry) = held {
                entry.expiry = Some(Expiry(UnixTime::now()));
                if let Some(sign_in) = &mut entry.sign_in {
                    sign_in.ended = true;
                }
            }
        })?;
        Ok(())
    }

    fn tell_of_pasted(&self, replaced: &Credential, sign_in: &SignIn) {
        let secret = replaced.auth.secret();
        let accepted = account::accepts(self.kind, &self.server, secret, true, &self.reach);
        let works = match sign_in.ended {
            true => Some(false),
            false => accepted.ok().flatten(),
        };
        self.ask.tell(&Notice::PastedReplaced {
            name: replaced.token.as_ref().map(|token| token.name.as_str()),
            works,
            page: tokens_page(self.kind, &self.server).as_ref(),
        });
    }
}
