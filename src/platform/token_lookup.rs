//! Checks of tokens, asked of the database together: those that come while it answers wait for the
//! next question. So a request costs the database little however many there are, and each is
//! still answered by what the database says after it came. A question that takes long does not hold
//! up those after it: they go out on another connection.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Semaphore, mpsc, oneshot};

use super::refusal::Refusal;
use crate::database::tokens::{Grant, TokenHash};
use crate::database::{Database, DatabaseError};

/// Most tokens that one question is about.
const TOGETHER: usize = 128;

/// Longest time that a question holds back the next one.
const NEXT_AFTER: Duration = Duration::from_millis(100);
/// Most questions under way at once: fewer than there are connections to a database.
const MAX_QUESTIONS: usize = 4;
/// Time limit for one question: a database that went away without a word does not answer at all.
const QUESTION_TIMEOUT: Duration = Duration::from_secs(10);

type Answer = Result<Option<Arc<Grant>>, Refusal>;
/// A token, and where its answer is waited for.
type Asked = (TokenHash, oneshot::Sender<Answer>);

/// Queue of checks.
#[derive(Debug)]
pub struct TokenLookup(mpsc::Sender<Asked>);

impl TokenLookup {
    /// Answers until the last of these is dropped.
    pub fn start(database: Database) -> Self {
        let (ask, mut asked) = mpsc::channel(TOGETHER);
        tokio::spawn(async move {
            let questions = Arc::new(Semaphore::new(MAX_QUESTIONS));
            let mut waiting = Vec::with_capacity(TOGETHER);
            while asked.recv_many(&mut waiting, TOGETHER).await > 0 {
                let Ok(question) = questions.clone().acquire_owned().await else {
                    return;
                };
                // Requests that have arrived get to the channel first: a question for many costs
                // hardly more than one for a single token.
                tokio::task::yield_now().await;
                while waiting.len() < TOGETHER
                    && let Ok(one) = asked.try_recv()
                {
                    waiting.push(one);
                }
                let waiting = std::mem::replace(&mut waiting, Vec::with_capacity(TOGETHER));
                let database = database.clone();
                // A task of its own: where it panics, those that wait are refused, and no others.
                let answered = tokio::spawn(async move {
                    let _question = question;
                    answer(database, waiting).await;
                });
                let _ = tokio::time::timeout(NEXT_AFTER, answered).await;
            }
        });
        TokenLookup(ask)
    }

    /// Grant of a token at this moment; also where its account is suspended.
    pub async fn check(&self, token: TokenHash) -> Answer {
        let (answer, answered) = oneshot::channel();
        let asked = self.0.send((token, answer)).await;
        asked.map_err(|_| Refusal::failed())?;
        answered.await.map_err(|_| Refusal::failed())?
    }
}

async fn answer(database: Database, waiting: Vec<Asked>) {
    let hashes: Vec<&TokenHash> = waiting.iter().map(|(hash, _)| hash).collect();
    let asking = database.check_tokens(&hashes);
    let found = match tokio::time::timeout(QUESTION_TIMEOUT, asking).await {
        Ok(Ok(grants)) => Ok(grants),
        Ok(Err(DatabaseError::Busy(error))) => {
            tracing::warn!(%error, "the database is busy, so that tokens can't be checked");
            Err(Refusal::busy as fn() -> Refusal)
        }
        Ok(Err(error)) => {
            tracing::error!(?error, "tokens can't be checked");
            Err(Refusal::failed as fn() -> Refusal)
        }
        Err(_) => {
            tracing::error!("the database does not answer");
            Err(Refusal::busy as fn() -> Refusal)
        }
    };
    for (hash, answer) in waiting {
        // Whoever asked may have gone away.
        let _ = answer.send(match &found {
            Ok(grants) => Ok(grants.get(hash.as_str()).cloned()),
            Err(refusal) => Err(refusal()),
        });
    }
}
