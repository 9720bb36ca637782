//! Checks of tokens, asked of the database together: those that come while it answers wait for the
//! next question. So a request costs the database little however many there are, and each is
//! still answered by what the database says after it came.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};

use super::refusal::Refusal;
use crate::database::tokens::{Grant, TokenHash};
use crate::database::{Database, DatabaseError};

/// Most tokens that one question is about.
const TOGETHER: usize = 128;

/// How long one question may take: a database that went away without a word holds up those after it.
const PATIENCE: Duration = Duration::from_secs(10);

type Answer = Result<Option<Arc<Grant>>, Refusal>;
/// A token, and where its answer is waited for.
type Asked = (TokenHash, oneshot::Sender<Answer>);

/// Where checks are asked for.
#[derive(Debug)]
pub struct Checks(mpsc::Sender<Asked>);

impl Checks {
    /// Answers until the last of these is dropped.
    pub fn start(database: Database) -> Self {
        let (ask, mut asked) = mpsc::channel(TOGETHER);
        tokio::spawn(async move {
            let mut waiting = Vec::with_capacity(TOGETHER);
            while asked.recv_many(&mut waiting, TOGETHER).await > 0 {
                // Requests that have arrived get to the channel first: a question for many costs
                // hardly more than one for a single token.
                tokio::task::yield_now().await;
                while waiting.len() < TOGETHER
                    && let Ok(one) = asked.try_recv()
                {
                    waiting.push(one);
                }
                let waiting = std::mem::replace(&mut waiting, Vec::with_capacity(TOGETHER));
                // A task of its own: where it panics, those that wait are refused, and no others.
                let mut answered = tokio::spawn(answer(database.clone(), waiting));
                if tokio::time::timeout(PATIENCE, &mut answered).await.is_err() {
                    answered.abort();
                    tracing::error!("the database does not answer");
                }
            }
        });
        Checks(ask)
    }

    /// What a token allows at this moment.
    pub async fn check(&self, token: TokenHash) -> Answer {
        let (answer, answered) = oneshot::channel();
        let asked = self.0.send((token, answer)).await;
        asked.map_err(|_| Refusal::failed())?;
        answered.await.map_err(|_| Refusal::failed())?
    }
}

async fn answer(database: Database, waiting: Vec<Asked>) {
    let hashes: Vec<&TokenHash> = waiting.iter().map(|(hash, _)| hash).collect();
    let found = database.check_tokens(&hashes).await;
    if let Err(DatabaseError::Failed(error)) = &found {
        tracing::error!(%error, "tokens can't be checked");
    }
    for (hash, answer) in waiting {
        // Whoever asked may have gone away.
        let _ = answer.send(match &found {
            Ok(grants) => Ok(grants.get(hash.as_str()).cloned()),
            Err(_) => Err(Refusal::failed()),
        });
    }
}
