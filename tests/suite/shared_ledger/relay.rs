//! A relay between a gateway and its PostgreSQL server, which forwards, stalls or cuts the connections.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;

/// The condition of a network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Link {
    Forwards,
    /// Bytes are kept, connections stay open: in both directions, or only from the server.
    Stalls {
        requests: bool,
    },
    /// Connections are closed, and new ones are closed at once.
    Cut,
    /// The relay has ended.
    Ended,
}

/// A relay with an address of its own.
pub(super) struct Relay {
    pub(super) address: SocketAddr,
    network: Arc<Network>,
}

struct Network {
    server: SocketAddr,
    link: Mutex<Link>,
    changed: Condvar,
    open: Mutex<Vec<TcpStream>>,
}

impl Relay {
    /// Starts a relay to a port of the loopback interface.
    pub(super) fn start(port: u16) -> Relay {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let network = Arc::new(Network {
            server: SocketAddr::from(([127, 0, 0, 1], port)),
            link: Mutex::new(Link::Forwards),
            changed: Condvar::new(),
            open: Mutex::default(),
        });
        let accepting = Arc::clone(&network);
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                if *accepting.link.lock().unwrap() == Link::Ended {
                    return;
                }
                let network = Arc::clone(&accepting);
                thread::spawn(move || network.connect(stream));
            }
        });
        Relay { address, network }
    }

    /// Keeps all bytes from now on, in both directions.
    pub(super) fn stall(&self) {
        self.network.set(Link::Stalls { requests: true });
    }

    /// Keeps what the server says from now on, and goes on to forward what the gateway says.
    pub(super) fn stall_answers(&self) {
        self.network.set(Link::Stalls { requests: false });
    }

    /// Closes all connections, and new ones from now on.
    pub(super) fn cut(&self) {
        self.network.set(Link::Cut);
        self.network.close();
    }

    /// Forwards again, also what was kept.
    pub(super) fn heal(&self) {
        self.network.set(Link::Forwards);
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.network.set(Link::Ended);
        self.network.close();
        // Wakes the thread that accepts.
        let _ = TcpStream::connect(self.address);
    }
}

impl Network {
    fn set(&self, link: Link) {
        *self.link.lock().unwrap() = link;
        self.changed.notify_all();
    }

    fn close(&self) {
        for stream in self.open.lock().unwrap().drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    /// Waits while the link stalls. Returns `false` if the connection is to be closed.
    fn pass(&self, is_request: bool) -> bool {
        let link = self.link.lock().unwrap();
        let stalls = |link: &mut Link| match link {
            Link::Stalls { requests } => *requests || !is_request,
            Link::Forwards | Link::Cut | Link::Ended => false,
        };
        let link = self.changed.wait_while(link, stalls).unwrap();
        !matches!(*link, Link::Cut | Link::Ended)
    }

    fn connect(self: &Arc<Self>, gateway: TcpStream) {
        if !self.pass(true) {
            return;
        }
        let Ok(server) = TcpStream::connect(self.server) else { return };
        for stream in [&gateway, &server] {
            let _ = stream.set_nodelay(true);
            self.open.lock().unwrap().push(stream.try_clone().unwrap());
        }
        let (network, from, to) =
            (Arc::clone(self), server.try_clone().unwrap(), gateway.try_clone().unwrap());
        thread::spawn(move || network.copy(from, to, false));
        self.copy(gateway, server, true);
    }

    fn copy(&self, mut from: TcpStream, mut to: TcpStream, is_request: bool) {
        let mut buffer = [0; 16 * 1024];
        while let Ok(read @ 1..) = from.read(&mut buffer) {
            if !self.pass(is_request) || to.write_all(&buffer[..read]).is_err() {
                break;
            }
        }
        let _ = from.shutdown(Shutdown::Both);
        let _ = to.shutdown(Shutdown::Both);
    }
}
