//! One step of several replies of one model: each chooses its token by itself, and the network is asked once what follows all
//! of them. Replies stay apart: text, draws, schema and end of each are what they would be alone (`models/llama/together.rs`
//! says why), and what fails for one leaves the others.

use std::sync::Arc;

use super::run::{Chosen, Conversation, ConverseState};
use crate::Result;

/// A reply that asks what follows a token, and its place among the others.
type Asking<'a> = (usize, &'a mut Conversation, u32);

/// Goes on by one step with each of several replies, and gives what became of each in their order.
pub fn step_together(replies: &mut [&mut Conversation]) -> Vec<Result<ConverseState>> {
    if !are_joined(replies) {
        return replies.iter_mut().map(|reply| reply.next_step()).collect();
    }
    let (mut states, mut asking): (Vec<_>, Vec<Asking<'_>>) = Default::default();
    for (place, reply) in replies.iter_mut().enumerate() {
        let reply: &mut Conversation = reply;
        states.push(match reply.choose() {
            Ok(Chosen::Next { token, text }) => {
                asking.push((place, reply, token));
                Ok(ConverseState::Step(text))
            }
            Ok(Chosen::Done(state)) => Ok(state),
            Err(error) => Err(error),
        });
    }
    match ask(&mut asking) {
        Ok(answers) => {
            asking.iter_mut().zip(answers).for_each(|((_, reply, _), logits)| reply.follow(logits))
        }
        // there may be no memory for all where there is some for one; who fails alone as well has failed
        Err(_) => {
            for (place, reply, token) in asking {
                if let Err(error) = reply.ask(token) {
                    states[place] = Err(error);
                }
            }
        }
    }
    states
}

/// Whether all are of one model, whose network takes them together, and none reads.
fn are_joined(replies: &[&mut Conversation]) -> bool {
    let is_first = |reply: &&mut Conversation| Arc::ptr_eq(reply.model(), replies[0].model());
    replies.iter().all(|reply| is_first(reply) && reply.can_join())
}

/// How likely each token is to follow in each of the replies. After an error they are as they were.
fn ask(asking: &mut [Asking<'_>]) -> Result<Vec<Vec<f32>>> {
    let Some(model) = asking.first().map(|(_, reply, _)| reply.model().clone()) else {
        return Ok(Vec::new());
    };
    let tokens: Vec<u32> = asking.iter().map(|(_, _, token)| *token).collect();
    let mut texts: Vec<_> = asking.iter_mut().map(|(_, reply, _)| reply.text()).collect();
    Ok(model.network().extend_each(&mut texts, &tokens)?.to_vec2()?)
}
