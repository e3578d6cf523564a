//! The web app in the test images: no crates, so that a static binary is the whole image.
//!
//! It is ruled by variables: `VERSION`, `PORT`, `ERRORS` (percent of answers that are 500), `LATENCY_MS`,
//! `BOOT_MS` (until it listens), `WARM_MS` (until `/health` is 200), `SLOW_FIRST` (so many requests take
//! `SLOW_MS` each), `DATABASE` (a file that must have the column `COLUMN`), `EXIT_AT_START` (its exit code),
//! `EXIT_AFTER_MS`, `IGNORE_TERM`, `BIND` (the addresses that it listens on, else all), `LEASH` (it ends when
//! its standard input does). `app check [ADDRESS]` asks `/health`, its own for HEALTHCHECK; `app schema` looks
//! for its column; `app ask NAME...` asks the network's resolver for names and writes when the number of addresses changes;
//! `app sleep` does nothing for long. A WebSocket is an echo. SIGTERM: nothing new is
//! accepted, what is under way is answered (not with `RUDE`), WebSockets are cut.

mod websocket;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering::SeqCst};
use std::time::{Duration, Instant};

static STOPPING: AtomicBool = AtomicBool::new(false);
static BROKEN: AtomicBool = AtomicBool::new(false);
static UNDER_WAY: AtomicI64 = AtomicI64::new(0);
static USERS: AtomicU64 = AtomicU64::new(0);

extern "C" fn term(_: i32) {
    STOPPING.store(true, SeqCst);
}

unsafe extern "C" {
    fn signal(number: i32, handler: extern "C" fn(i32)) -> usize;
}

fn var(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

fn addresses(usual: &str) -> Vec<String> {
    let bind = std::env::var("BIND").unwrap_or_else(|_| usual.to_owned());
    bind.split(',').map(str::to_owned).collect()
}

fn main() {
    let port = var("PORT").unwrap_or(3000);
    match std::env::args().nth(1).as_deref() {
        Some("check") => {
            let own = format!("{}:{port}", addresses("127.0.0.1")[0]);
            let address = std::env::args().nth(2).unwrap_or(own);
            std::process::exit(i32::from(!check(&address)))
        }
        Some("schema") => std::process::exit(match column() {
            Ok(()) => 0,
            Err(gone) => {
                print!("{gone}");
                1
            }
        }),
        Some("ask") => ask(&std::env::args().skip(2).collect::<Vec<_>>()),
        Some("sleep") => std::thread::sleep(Duration::from_secs(3600)),
        Some("fail") => {
            println!("this check always fails");
            std::process::exit(1);
        }
        _ => serve(port),
    }
}

/// Asks Docker's resolver for each name, again and again: `name addresses` when that is news, and `asked N` now and then.
fn ask(names: &[String]) {
    let mut known = vec![usize::MAX; names.len()];
    for n in 1.. {
        for (name, known) in names.iter().zip(&mut known) {
            let found = addresses_of(name).unwrap_or(0);
            if found != *known {
                println!("{name} {found}");
                *known = found;
            }
        }
        if n % 100 == 0 {
            println!("asked {n}");
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// How many addresses the resolver gives (RFC 1035, a question for A records).
fn addresses_of(name: &str) -> std::io::Result<usize> {
    let socket = std::net::UdpSocket::bind("0.0.0.0:0")?;
    socket.set_read_timeout(Some(Duration::from_secs(5)))?;
    let mut question = vec![0, 1, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    for part in name.split('.') {
        question.push(part.len() as u8);
        question.extend(part.as_bytes());
    }
    question.extend([0, 0, 1, 0, 1]);
    socket.send_to(&question, "127.0.0.11:53")?;
    let mut answer = [0; 512];
    let length = socket.recv(&mut answer)?;
    let failed = length < 12 || answer[3] & 15 != 0;
    Ok(if failed { 0 } else { usize::from(answer[6]) << 8 | usize::from(answer[7]) })
}

fn check(address: &str) -> bool {
    let ask = || -> std::io::Result<String> {
        let mut stream = TcpStream::connect(address)?;
        stream.write_all(b"GET /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")?;
        let mut text = String::new();
        stream.read_to_string(&mut text)?;
        Ok(text)
    };
    let answer = ask().unwrap_or_default();
    let line = answer.lines().next().unwrap_or("no answer").to_owned();
    println!("{line}");
    line.contains(" 200 ")
}

fn serve(port: u64) {
    if let Some(code) = var("EXIT_AT_START") {
        eprintln!("refusing to start: told to exit with {code}");
        std::process::exit(code as i32);
    }
    if var("IGNORE_TERM").is_none() {
        // SAFETY: the handler stores one atomic.
        unsafe { signal(15, term) };
    }
    if let Some(after) = var("EXIT_AFTER_MS") {
        std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(after));
            eprintln!("exiting by itself");
            std::process::exit(3);
        });
    }
    if var("LEASH").is_some() {
        std::thread::spawn(|| {
            let _ = std::io::copy(&mut std::io::stdin(), &mut std::io::sink());
            std::process::exit(0);
        });
    }
    std::thread::sleep(Duration::from_millis(var("BOOT_MS").unwrap_or(0)));
    let begun = Instant::now();
    let listen = |address: &String| {
        let listener = TcpListener::bind((address.as_str(), port as u16)).expect("a port");
        listener.set_nonblocking(true).expect("a socket");
        listener
    };
    let listeners: Vec<TcpListener> = addresses("0.0.0.0").iter().map(listen).collect();
    eprintln!("listening on {port}");
    while !STOPPING.load(SeqCst) {
        match listeners.iter().find_map(|listener| listener.accept().ok()) {
            Some((stream, _)) => {
                let _ = stream.set_nonblocking(false);
                let _ = stream.set_nodelay(true);
                std::thread::Builder::new()
                    .stack_size(64 * 1024)
                    .spawn(move || answer_all(stream, begun))
                    .ok();
            }
            None => std::thread::sleep(Duration::from_millis(1)),
        }
    }
    drop(listeners);
    while UNDER_WAY.load(SeqCst) > 0 && var("RUDE").is_none() {
        std::thread::sleep(Duration::from_millis(2));
    }
    eprintln!("drained");
}

fn answer_all(stream: TcpStream, begun: Instant) {
    // An idle connection must not hold up the end.
    let _ = stream.set_read_timeout(Some(Duration::from_secs(60)));
    let Ok(mut out) = stream.try_clone() else { return };
    let mut reader = BufReader::new(stream);
    loop {
        let mut first = String::new();
        if !matches!(reader.read_line(&mut first), Ok(n) if n > 0) {
            return;
        }
        UNDER_WAY.fetch_add(1, SeqCst);
        let (mut close, mut length, mut key) = (false, 0usize, None);
        let mut head = String::new();
        loop {
            let mut line = String::new();
            if !matches!(reader.read_line(&mut line), Ok(n) if n > 0) || line == "\r\n" {
                break;
            }
            head.push_str(&line);
            if let Some((name, value)) = line.split_once(':')
                && name.eq_ignore_ascii_case("sec-websocket-key")
            {
                key = Some(value.trim().to_owned());
            }
            let line = line.to_ascii_lowercase();
            close |= line.starts_with("connection: close");
            if let Some(n) = line.strip_prefix("content-length:") {
                length = n.trim().parse().unwrap_or(0);
            }
        }
        let _ = std::io::copy(&mut (&mut reader).take(length as u64), &mut std::io::sink());
        let path = first.split(' ').nth(1).unwrap_or("/").to_owned();
        let version = std::env::var("VERSION").unwrap_or_default();
        if let Some(key) = key {
            let switch = format!(
                "HTTP/1.1 101 X\r\nx-app-version: {version}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: {}\r\n\r\n",
                websocket::accept(&key)
            );
            let _ = out.set_read_timeout(None);
            UNDER_WAY.fetch_sub(1, SeqCst);
            let _ = out.write_all(switch.as_bytes()).and_then(|()| websocket::echo(&mut reader, &mut out));
            return;
        }
        if path.starts_with("/download") {
            let _ = download(&mut out, &version, number(&path, "ms").unwrap_or(1000));
            UNDER_WAY.fetch_sub(1, SeqCst);
            return;
        }
        let (code, body) = match path.as_str() {
            "/head" => (200, head),
            path => answer(path, begun),
        };
        close |= STOPPING.load(SeqCst);
        let said = if close { "Connection: close\r\n" } else { "" };
        let text = format!(
            "HTTP/1.1 {code} X\r\nx-app-version: {version}\r\nContent-Length: {}\r\n{said}\r\n{body}",
            body.len()
        );
        let sent = out.write_all(text.as_bytes());
        UNDER_WAY.fetch_sub(1, SeqCst);
        if path.starts_with("/exit") {
            eprintln!("asked to exit");
            std::process::exit(3);
        }
        if close || sent.is_err() {
            return;
        }
    }
}

/// A hundred parts of a kilobyte each, evenly over this time.
fn download(out: &mut TcpStream, version: &str, ms: u64) -> std::io::Result<()> {
    let head = format!("HTTP/1.1 200 X\r\nx-app-version: {version}\r\nContent-Length: 102400\r\nConnection: close\r\n\r\n");
    out.write_all(head.as_bytes())?;
    for _ in 0..100 {
        std::thread::sleep(Duration::from_millis(ms / 100));
        out.write_all(&[b'x'; 1024])?;
    }
    Ok(())
}

/// Whether the first line of the database has the column that this version lives on.
fn column() -> Result<(), String> {
    let (Ok(file), Ok(column)) = (std::env::var("DATABASE"), std::env::var("COLUMN")) else {
        return Ok(());
    };
    let text = std::fs::read_to_string(&file).map_err(|error| format!("{file}: {error}\n"))?;
    let known = text.lines().next().unwrap_or_default().split(',').any(|name| name == column);
    if known { Ok(()) } else { Err(format!("{file} has no column `{column}`\n")) }
}

/// A number in a path's query.
fn number(path: &str, name: &str) -> Option<u64> {
    let (_, rest) = path.split_once(&format!("{name}="))?;
    rest.split('&').next()?.parse().ok()
}

fn answer(path: &str, begun: Instant) -> (u16, String) {
    if path.starts_with("/health") {
        let warm = begun.elapsed() >= Duration::from_millis(var("WARM_MS").unwrap_or(0));
        let well = warm && !BROKEN.load(SeqCst);
        return if well { (200, "well\n".into()) } else { (503, "ill\n".into()) };
    }
    if path.starts_with("/users") {
        return (200, USERS.load(SeqCst).to_string());
    }
    if path.starts_with("/break") {
        BROKEN.store(true, SeqCst);
        return (200, "broken\n".into());
    }
    if path.starts_with("/env") {
        let all: Vec<String> = std::env::vars().map(|(name, value)| format!("{name}={value}")).collect();
        return (200, all.join("\n"));
    }
    if path.starts_with("/leak") {
        // Written, so that it is really taken; seen, so that no compiler leaves it out; and never given back.
        std::mem::forget(std::hint::black_box(vec![1u8; 1 << 20]));
        return (200, String::new());
    }
    if path.starts_with("/mem") {
        let mut held: Vec<Vec<u8>> = vec![];
        loop {
            held.push(vec![1; 1 << 20]);
        }
    }
    if path.starts_with("/slow") {
        std::thread::sleep(Duration::from_millis(number(path, "ms").unwrap_or(1000)));
        return (200, std::env::var("VERSION").unwrap_or_default());
    }
    let count = USERS.fetch_add(1, SeqCst);
    let cold = count < var("SLOW_FIRST").unwrap_or(0);
    let time = if cold { "SLOW_MS" } else { "LATENCY_MS" };
    std::thread::sleep(Duration::from_millis(var(time).unwrap_or(0)));
    if let Err(gone) = column() {
        return (500, gone);
    }
    // Spread evenly over a hundred requests: 37 and 100 have no common divisor.
    if count * 37 % 100 < var("ERRORS").unwrap_or(0) {
        return (500, "failed\n".into());
    }
    (200, std::env::var("VERSION").unwrap_or_default())
}
