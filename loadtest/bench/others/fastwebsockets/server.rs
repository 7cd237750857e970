//! The comparison's Rust server: fastwebsockets on one tokio thread. Usage: server echo|paced|scored

mod typing;

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use std::time::Duration;

use fastwebsockets::{upgrade, Frame, OpCode, Payload, WebSocketError, WebSocketWrite};
use http_body_util::Empty;
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::upgrade::Upgraded;
use hyper::Request;
use hyper_util::rt::TokioIo;
use tokio::io::WriteHalf;
use tokio::net::TcpListener;
use tokio::sync::Mutex;
use typing::Typing;

type Writer = Rc<Mutex<WebSocketWrite<WriteHalf<TokioIo<Upgraded>>>>>;
type Bucket = HashMap<u64, (Rc<RefCell<Typing>>, Writer)>;

/// A fortieth of all typists has its turn every 25 ms.
struct Buckets {
    buckets: [RefCell<Bucket>; 40],
    next: Cell<u64>,
}

impl Buckets {
    fn of(&self, number: u64) -> &RefCell<Bucket> {
        &self.buckets[(number % 40) as usize]
    }

    async fn tick(&self) {
        let mut every = tokio::time::interval(Duration::from_millis(25));
        for turn in 0.. {
            every.tick().await;
            let due: Vec<_> = self.of(turn).borrow().values().cloned().collect();
            for (typing, writer) in due {
                let message = typing.borrow_mut().tick();
                if let Some(message) = message {
                    let _ = writer.lock().await.write_frame(Frame::binary(Payload::Owned(message))).await;
                }
            }
        }
    }
}

async fn serve(socket: upgrade::UpgradeFut, work: &'static str, buckets: Rc<Buckets>) -> Result<(), WebSocketError> {
    let (mut reader, writer) = socket.await?.split(tokio::io::split);
    let writer = Rc::new(Mutex::new(writer));
    let mut typing: Option<Rc<RefCell<Typing>>> = None;
    let mut number = 0;
    let mut count = 0;
    let outcome = loop {
        let frame = match reader.read_frame::<_, WebSocketError>(&mut |_| async { Ok(()) }).await {
            Ok(frame) if matches!(frame.opcode, OpCode::Text | OpCode::Binary) => frame,
            Ok(frame) if frame.opcode == OpCode::Close => break Ok(()),
            Ok(_) => continue,
            Err(fault) => break Err(fault),
        };
        match (work, &typing) {
            ("echo", _) => {
                let answer = Frame::new(true, frame.opcode, None, frame.payload); // the frame read has a mask
                writer.lock().await.write_frame(answer).await?;
            }
            ("paced", _) => {
                count += 1;
                if count % 4 == 0 {
                    writer.lock().await.write_frame(Frame::binary(Payload::Borrowed(&[b'a'; 100]))).await?;
                }
            }
            (_, None) => {
                let begun = Rc::new(RefCell::new(Typing::new(&frame.payload)));
                number = buckets.next.replace(buckets.next.get() + 1);
                buckets.of(number).borrow_mut().insert(number, (begun.clone(), writer.clone()));
                typing = Some(begun);
            }
            (_, Some(typing)) => {
                if typing.borrow_mut().keys(&frame.payload).is_none() {
                    break Ok(());
                }
            }
        }
    };
    if typing.is_some() {
        buckets.of(number).borrow_mut().remove(&number);
    }
    outcome
}

fn main() {
    let work: &'static str = std::env::args().nth(1).expect("echo, paced or scored").leak();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().enable_time().build().unwrap();
    tokio::task::LocalSet::new().block_on(&runtime, async move {
        let buckets = Rc::new(Buckets { buckets: std::array::from_fn(|_| RefCell::default()), next: Cell::new(0) });
        if work == "scored" {
            let all = buckets.clone();
            tokio::task::spawn_local(async move { all.tick().await });
        }
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        println!("ready {}", listener.local_addr().unwrap());
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let _ = stream.set_nodelay(true);
            let buckets = buckets.clone();
            tokio::task::spawn_local(async move {
                let service = service_fn(move |mut request: Request<Incoming>| {
                    let buckets = buckets.clone();
                    async move {
                        let (response, socket) = upgrade::upgrade(&mut request)?;
                        tokio::task::spawn_local(serve(socket, work, buckets));
                        Ok::<hyper::Response<Empty<Bytes>>, WebSocketError>(response)
                    }
                });
                let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).with_upgrades().await;
            });
        }
    });
}
