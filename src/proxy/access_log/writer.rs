//! Writes log lines to a file or to standard output; no request waits for a disk.

use prometheus::IntCounter;
use std::fs::{File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// The most lines that wait for the disk; further ones are dropped and counted.
const WAITING_MAX: usize = 8_192;

/// How soon a file is reopened while no lines come.
const LOOK: Duration = Duration::from_millis(200);

/// How long lines are gathered before they go to the disk: handing a line over then wakes no
/// thread.
const GATHER: Duration = Duration::from_millis(20);

/// The most bytes that go to the disk at once.
const BUFFER: usize = 64 << 10;

/// The longest wait for the last lines at shutdown.
const LAST_LINES: Duration = Duration::from_secs(1);

/// Writes lines on a thread of its own, which ends when this is dropped.
#[derive(Debug)]
pub struct AccessLogWriter {
    lines: Option<SyncSender<String>>,
    reopen: Arc<AtomicBool>,
    dropped: IntCounter,
    ended: Mutex<Receiver<()>>,
}

impl AccessLogWriter {
    /// Opens the file, or takes standard output.
    ///
    /// # Errors
    /// When the file cannot be opened, or the thread cannot be started.
    pub fn start(path: Option<&Path>, dropped: IntCounter) -> io::Result<AccessLogWriter> {
        let out = open(path)?;
        let (lines, waiting) = sync_channel(WAITING_MAX);
        let (ends, ended) = sync_channel(1);
        let reopen = Arc::new(AtomicBool::new(false));
        let thread = WriterThread {
            path: path.map(Path::to_owned),
            out: BufWriter::with_capacity(BUFFER, out),
            reopen: reopen.clone(),
            dropped: dropped.clone(),
            failing: false,
        };
        std::thread::Builder::new()
            .name("access-log".to_owned())
            .spawn(move || {
                thread.write_all(&waiting);
                let _ = ends.send(());
            })?;
        Ok(AccessLogWriter {
            lines: Some(lines),
            reopen,
            dropped,
            ended: Mutex::new(ended),
        })
    }

    /// Queues a line; it is dropped when the queue is full.
    pub fn write(&self, line: String) {
        let taken = self.lines.as_ref().map(|lines| lines.try_send(line));
        if !matches!(taken, Some(Ok(()))) {
            self.dropped.inc();
        }
    }

    /// Reopens the file before the next line.
    pub fn reopen(&self) {
        self.reopen.store(true, Relaxed);
    }
}

impl Drop for AccessLogWriter {
    fn drop(&mut self) {
        self.lines = None;
        // A reader of standard output that has stopped must not keep the process.
        let ended = self.ended.get_mut().unwrap_or_else(PoisonError::into_inner);
        let _ = ended.recv_timeout(LAST_LINES);
    }
}

fn open(path: Option<&Path>) -> io::Result<Box<dyn Write + Send>> {
    let Some(path) = path else {
        return Ok(Box::new(io::stdout()));
    };
    let file: File = OpenOptions::new().create(true).append(true).open(path).map_err(|error| {
        let what = format!(
            "the access log {} cannot be opened: {error}; make its folder, and writable for the user who runs shifter",
            path.display()
        );
        io::Error::new(error.kind(), what)
    })?;
    Ok(Box::new(file))
}

struct WriterThread {
    path: Option<PathBuf>,
    out: BufWriter<Box<dyn Write + Send>>,
    reopen: Arc<AtomicBool>,
    dropped: IntCounter,
    /// The last write failed, and that was logged once.
    failing: bool,
}

impl WriterThread {
    fn write_all(mut self, waiting: &Receiver<String>) {
        loop {
            let line = match waiting.recv_timeout(LOOK) {
                Ok(line) => Some(line),
                Err(RecvTimeoutError::Timeout) => None,
                Err(RecvTimeoutError::Disconnected) => break,
            };
            if self.reopen.swap(false, Relaxed) {
                self.open_anew();
            }
            let Some(line) = line else { continue };
            self.put(&line);
            // While lines come, the thread sleeps for a short time instead of being woken by each
            // line.
            while self.put_all(waiting) > 0 {
                let flushed = self.out.flush();
                self.note(flushed);
                if self.reopen.swap(false, Relaxed) {
                    self.open_anew();
                }
                std::thread::sleep(GATHER);
            }
            let flushed = self.out.flush();
            self.note(flushed);
        }
        let flushed = self.out.flush();
        self.note(flushed);
    }

    /// Writes the queued lines; returns how many lines that were.
    fn put_all(&mut self, waiting: &Receiver<String>) -> usize {
        waiting.try_iter().map(|line| self.put(&line)).count()
    }

    fn put(&mut self, line: &str) {
        let written = self.out.write_all(line.as_bytes());
        self.note(written);
    }

    fn open_anew(&mut self) {
        if self.path.is_none() {
            return;
        }
        let flushed = self.out.flush();
        self.note(flushed);
        match open(self.path.as_deref()) {
            Ok(out) => self.out = BufWriter::with_capacity(BUFFER, out),
            Err(error) => log::warn!("{error}; the old one is written on"),
        }
    }

    fn note(&mut self, written: io::Result<()>) {
        match written {
            Ok(()) => self.failing = false,
            Err(error) => {
                self.dropped.inc();
                if !std::mem::replace(&mut self.failing, true) {
                    log::warn!(
                        "the access log cannot be written: {error}; lines are lost until it can"
                    );
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Instant;

    fn until(what: &str, holds: impl Fn() -> bool) {
        let deadline = Instant::now() + Duration::from_secs(10);
        while !holds() {
            assert!(Instant::now() < deadline, "never came true: {what}");
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    #[test]
    fn a_file_that_was_moved_away_is_begun_anew() {
        let dir = tempfile::tempdir().unwrap();
        let (path, moved) = (
            dir.path().join("access.log"),
            dir.path().join("access.log.1"),
        );
        let read = |path: &Path| std::fs::read_to_string(path).unwrap_or_default();
        let dropped = IntCounter::new("dropped", "dropped").unwrap();
        let scribe = AccessLogWriter::start(Some(&path), dropped.clone()).unwrap();
        scribe.write("one\n".to_owned());
        until("the first line is there", || read(&path) == "one\n");
        std::fs::rename(&path, &moved).unwrap();
        scribe.write("two\n".to_owned());
        until("the second goes where the first is", || {
            read(&moved) == "one\ntwo\n"
        });
        scribe.reopen();
        until("the file is there again without a line", || path.exists());
        for n in 0..1_000 {
            scribe.write(format!("{n}\n"));
        }
        drop(scribe);
        assert_eq!(
            read(&path).lines().count(),
            1_000,
            "none is lost at the end"
        );
        assert_eq!(dropped.get(), 0);
    }

    #[test]
    fn nobody_waits_for_a_disk() {
        let dropped = IntCounter::new("dropped", "dropped").unwrap();
        let dir = tempfile::tempdir().unwrap();
        let pipe = dir.path().join("pipe");
        let made = std::process::Command::new("mkfifo")
            .arg(&pipe)
            .status()
            .unwrap();
        assert!(made.success());
        // A reader that opens the pipe and never reads.
        let _reader = OpenOptions::new()
            .read(true)
            .write(true)
            .open(&pipe)
            .unwrap();
        let scribe = AccessLogWriter::start(Some(&pipe), dropped.clone()).unwrap();
        let begun = Instant::now();
        for _ in 0..20_000 {
            scribe.write("x".repeat(100));
        }
        assert!(
            begun.elapsed() < Duration::from_secs(2),
            "{:?}",
            begun.elapsed()
        );
        assert!(dropped.get() > 10_000, "{}", dropped.get());
        let begun = Instant::now();
        drop(scribe);
        assert!(
            begun.elapsed() < Duration::from_secs(5),
            "the end is not held up"
        );
    }

    #[test]
    fn a_full_disk_costs_lines_and_nothing_else() {
        let dropped = IntCounter::new("dropped", "dropped").unwrap();
        let scribe = AccessLogWriter::start(Some(Path::new("/dev/full")), dropped.clone()).unwrap();
        scribe.write("x\n".to_owned());
        until("it is counted", || dropped.get() > 0);
        assert!(AccessLogWriter::start(Some(Path::new("/nonexistent/a")), dropped).is_err());
    }
}
