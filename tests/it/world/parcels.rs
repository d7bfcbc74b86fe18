//! The test messages: each carries its identity in its body, and enough of everything to show an unfaithful copy.

use std::rc::Rc;

use sqs_drain::message::{Attribute, Value};

use super::audit::Original;
use super::engine::Core;
use super::queue::Payload;

impl Core {
    /// Parks `n` messages in a queue now; in groups `g0`, `g1`, ... when `groups` is not 0.
    pub fn park(self: &Rc<Self>, queue: usize, n: usize, groups: u64) {
        for _ in 0..n {
            let origin = self.audit.borrow().originals.len();
            let payload = self.payload(origin, groups);
            let now = self.now();
            let mut queues = self.queues.borrow_mut();
            let fifo = queues[queue].spec.fifo;
            let dedup = fifo.then(|| format!("producer-{origin}"));
            let message_id = queues[queue].park(now, payload.clone(), dedup);
            drop(queues);
            self.audit.borrow_mut().originals.push(Original {
                queue,
                message_id,
                payload: Rc::new(payload),
            });
            self.note(format_args!("m{origin} parked in q{queue}"));
        }
        self.stir(queue);
    }

    fn payload(&self, origin: usize, groups: u64) -> Payload {
        let mut rng = self.rng.borrow_mut();
        let tail = *rng.pick(&[
            "",
            "안녕하세요 고객님",
            "{\"a\":\"b\\\"c\"}",
            "line\r\n\ttab <&>",
            "🎁 50 %",
        ]);
        let all = [
            ("kind", "String", Value::Text("commercial".into())),
            ("n", "Number.int", Value::Text(origin.to_string())),
            (
                "raw",
                "Binary.gzip",
                Value::Binary(vec![0, 255, origin as u8]),
            ),
            ("空", "String.custom", Value::Text("값".into())),
        ];
        let keep = rng.below(5) as usize;
        let attributes = all
            .into_iter()
            .take(keep)
            .map(|(name, data_type, value)| Attribute {
                name: name.into(),
                data_type: data_type.into(),
                value,
            });
        let mut attributes: Vec<_> = attributes.collect();
        attributes.sort_by(|a, b| a.name.cmp(&b.name));
        Payload {
            body: format!("m{origin} {tail}"),
            attributes,
            trace_header: rng.chance(3_000).then(|| format!("Root=1-{origin:08x}")),
            group_id: (groups > 0).then(|| format!("g{}", rng.below(groups))),
        }
    }
}
