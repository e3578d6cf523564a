//! Hands the listeners to a successor: one shifter replaces another, and no user is refused.
//!
//! The successor connects to a socket in the state folder and gets the listeners themselves (SCM_RIGHTS,
//! unix(7)): both have the same queue of new connections, so none is ever closed. One byte is sent
//! at each step:
//!
//! ```text
//! successor                      predecessor
//!    connect              ──►
//!                         ◄──    the listeners
//!    READY (can start)    ──►
//!                         ◄──    YOURS (controller ended, folder free; requests go on)
//!    SERVING (listens)     ──►
//!                                drains, ends
//! ```
//!
//! On any failure before SERVING, the predecessor resumes its work.

use crate::proxy::Listeners;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};
use std::io::{self, IoSlice, IoSliceMut, Read, Write};
use std::mem::MaybeUninit;
use std::net::TcpListener;
use std::os::fd::AsFd;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The socket's name in the state folder.
const NAME: &str = "handover.sock";

/// Timeout of each step; a predecessor needs a moment to end its controller.
const PATIENCE: Duration = Duration::from_secs(30);

/// Upper bound on the number of listeners.
const LISTENERS_MAX: usize = 64;

const READY: u8 = b'r';
const YOURS: u8 = b'y';
const SERVING: u8 = b's';

/// The socket for successors; its file is removed on drop.
#[derive(Debug)]
pub struct HandoverListener {
    listener: tokio::net::UnixListener,
    path: PathBuf,
}

impl HandoverListener {
    /// Opens it in a folder that this process holds alone.
    ///
    /// # Errors
    /// When the socket cannot be created.
    pub fn open(folder: &Path) -> io::Result<HandoverListener> {
        let path = folder.join(NAME);
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let listener = UnixListener::bind(&path)?;
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600))?;
        listener.set_nonblocking(true)?;
        let listener = tokio::net::UnixListener::from_std(listener)?;
        Ok(HandoverListener { listener, path })
    }

    /// The next process that connects.
    ///
    /// # Errors
    /// When the socket fails.
    pub async fn asked(&self) -> io::Result<Successor> {
        let (stream, _) = self.listener.accept().await?;
        let stream = stream.into_std()?;
        stream.set_nonblocking(false)?;
        Ok(Successor(patient(stream)?))
    }
}

impl Drop for HandoverListener {
    fn drop(&mut self) {
        // The successor has one of the same name by now, or soon.
        let _ = std::fs::remove_file(&self.path);
    }
}

/// The process that asks for the listeners.
#[derive(Debug)]
pub struct Successor(UnixStream);

impl Successor {
    /// Sends the listeners and waits until the successor can start.
    ///
    /// # Errors
    /// When it is gone, or exceeds the timeout.
    pub fn offer(&mut self, listeners: &Listeners) -> io::Result<()> {
        let fds: Vec<_> = listeners.all.iter().map(AsFd::as_fd).collect();
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(LISTENERS_MAX))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        if !control.push(SendAncillaryMessage::ScmRights(&fds)) {
            return Err(io::Error::other("too many listeners"));
        }
        let count = u8::try_from(fds.len()).map_err(io::Error::other)?;
        sendmsg(
            &self.0,
            &[IoSlice::new(&[count, u8::from(listeners.shared)])],
            &mut control,
            SendFlags::NOSIGNAL,
        )?;
        expect(&mut self.0, READY)
    }

    /// Tells the successor that it owns everything now, and waits until it serves.
    ///
    /// # Errors
    /// When it is gone, or exceeds the timeout.
    pub fn give(&mut self) -> io::Result<()> {
        self.0.write_all(&[YOURS])?;
        expect(&mut self.0, SERVING)
    }
}

/// The process that has the listeners.
#[derive(Debug)]
pub struct Predecessor(UnixStream);

impl Predecessor {
    /// Asks the process that holds the state folder for its listeners; `None` when none answers there.
    ///
    /// # Errors
    /// When it answers and does not hand them over.
    pub fn ask(folder: &Path) -> io::Result<Option<(Predecessor, Listeners)>> {
        let stream = match UnixStream::connect(folder.join(NAME)) {
            Ok(stream) => patient(stream)?,
            Err(error) => {
                return match error.kind() {
                    io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => Ok(None),
                    _ => Err(error),
                };
            }
        };
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(LISTENERS_MAX))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let mut said = [0; 2];
        let got = recvmsg(
            &stream,
            &mut [IoSliceMut::new(&mut said)],
            &mut control,
            RecvFlags::CMSG_CLOEXEC,
        )?;
        let rights = control.drain().filter_map(|message| match message {
            RecvAncillaryMessage::ScmRights(fds) => Some(fds),
            _ => None,
        });
        let all: Vec<TcpListener> = rights.flatten().map(TcpListener::from).collect();
        if got.bytes != said.len() || all.len() != usize::from(said[0]) {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let shared = said[1] != 0;
        Ok(Some((Predecessor(stream), Listeners { all, shared })))
    }

    /// Tells the predecessor that this process can start, and waits until it owns everything.
    ///
    /// # Errors
    /// When the predecessor is gone, or exceeds the timeout.
    pub fn ready(&mut self) -> io::Result<()> {
        self.0.write_all(&[READY])?;
        expect(&mut self.0, YOURS)
    }

    /// Tells the predecessor that this process serves.
    ///
    /// # Errors
    /// When the predecessor is gone: then it no longer serves, which is as good.
    pub fn serving(mut self) -> io::Result<()> {
        self.0.write_all(&[SERVING])
    }
}

fn patient(stream: UnixStream) -> io::Result<UnixStream> {
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    Ok(stream)
}

fn expect(stream: &mut UnixStream, word: u8) -> io::Result<()> {
    let mut said = [0];
    stream.read_exact(&mut said)?;
    if said == [word] {
        return Ok(());
    }
    Err(io::Error::other("it says something else"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpStream;

    fn one(shared: bool) -> Listeners {
        let all = vec![TcpListener::bind("127.0.0.1:0").unwrap()];
        Listeners { all, shared }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn the_successor_has_the_same_queue() {
        let folder = tempfile::tempdir().unwrap();
        assert!(Predecessor::ask(folder.path()).unwrap().is_none(), "nobody");
        let handover = HandoverListener::open(folder.path()).unwrap();
        let listeners = one(true);
        let addr = listeners.all[0].local_addr().unwrap();
        let place = folder.path().to_owned();
        let new = std::thread::spawn(move || {
            let (mut old, given) = Predecessor::ask(&place).unwrap().unwrap();
            assert!(given.shared);
            old.ready().unwrap();
            old.serving().unwrap();
            given.all
        });
        let mut successor = handover.asked().await.unwrap();
        successor.offer(&listeners).unwrap();
        let _waiting = TcpStream::connect(addr).unwrap();
        successor.give().unwrap();
        drop((listeners, handover));
        let new = new.join().unwrap();
        assert_eq!(new[0].local_addr().unwrap(), addr);
        new[0].accept().unwrap();
        assert!(!folder.path().join(NAME).exists());
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn who_goes_away_in_between_is_noticed() {
        let folder = tempfile::tempdir().unwrap();
        let handover = HandoverListener::open(folder.path()).unwrap();
        drop(UnixStream::connect(folder.path().join(NAME)).unwrap());
        let mut successor = handover.asked().await.unwrap();
        assert!(successor.offer(&one(false)).is_err());
    }
}
