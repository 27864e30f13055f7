"""A person before the page, played by Chromium: browser.py CHROMIUM CHROMEDRIVER URL SCENE.

What the test must do meanwhile is asked for by a line `want …` on stdout, and answered by a line on stdin. Whatever is not
as it should be ends this with a message. ALLUVIUM_TEST_SCREENSHOTS names a folder for pictures.
"""

import json
import os
import sys
import time

from selenium import webdriver
from selenium.webdriver.chrome.options import Options
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import WebDriverWait

LIMIT = 60
CHROMIUM, DRIVER, URL, SCENE = sys.argv[1:]
ORIGIN = URL.rstrip("/")
HOSTILE = "<script>window.hit=1</script><img src=x onerror=window.hit=2>"

options = Options()
options.binary_location = CHROMIUM
for flag in ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--window-size=1280,1000"]:
    options.add_argument(flag)
options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
driver = webdriver.Chrome(options=options, service=Service(DRIVER))


def want(what):
    print(f"want {what}", flush=True)
    if not sys.stdin.readline():
        sys.exit(f"nobody answered to: want {what}")


def until(what, condition):
    try:
        return WebDriverWait(driver, LIMIT, poll_frequency=0.1, ignored_exceptions=[Exception]).until(lambda _: condition())
    except Exception:
        sys.exit(f"waited in vain until {what}; the page says:\n{driver.find_element(By.TAG_NAME, 'body').text[:3000]}")


def check(holds, what):
    if not holds:
        sys.exit(f"not so: {what}")


def text(of):
    return driver.find_element(By.ID, of).text


def number(of):
    return int(text(of).split()[0].replace(",", ""))


def js(code, *arguments):
    return driver.execute_script(code, *arguments)


def scheme(name):
    features = [{"name": "prefers-color-scheme", "value": name}, {"name": "prefers-reduced-motion", "value": "reduce"}]
    driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})


def width(pixels, height=900):
    metrics = {"width": pixels, "height": height, "deviceScaleFactor": 1, "mobile": pixels < 600}
    driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)


def picture(name):
    folder = os.environ.get("ALLUVIUM_TEST_SCREENSHOTS")
    if folder:
        driver.save_screenshot(os.path.join(folder, f"{SCENE}-{name}.png"))


SEEN = []


def no_request_outside():
    for entry in driver.get_log("performance"):
        message = json.loads(entry["message"])["message"]
        if message["method"] == "Network.requestWillBeSent":
            SEEN.append(message["params"]["request"]["url"])
    outside = [url for url in SEEN if not url.startswith((ORIGIN + "/", "data:"))]
    check(SEEN and not outside, f"requests go to {ORIGIN} alone: {outside or 'none were seen'}")


def quiet_console(allowed=()):
    told = [entry for entry in driver.get_log("browser") if not any(word in entry["message"] for word in allowed)]
    check(not told, f"the console is empty: {told}")


CONTRAST = """
const parse = (c) => { const m = c.match(/[\\d.]+/g).map(Number); return { rgb: m.slice(0, 3), a: m[3] ?? 1 }; };
const light = (rgb) => rgb.map((v) => v / 255).map((v) => (v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4))
  .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
const over = (top, below) => top.rgb.map((v, i) => v * top.a + below[i] * (1 - top.a));
const ground = (el) => {
  const stack = [];
  for (let at = el; at; at = at.parentElement) {
    const c = parse(getComputedStyle(at).backgroundColor);
    if (c.a > 0) stack.push(c);
    if (c.a === 1) break;
  }
  return stack.reverse().reduce((below, top) => over(top, below), [255, 255, 255]);
};
const ratio = (el, colour) => {
  const below = ground(el);
  const [a, b] = [light(over(parse(colour), below)), light(below)];
  return (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
};
const bad = [];
let looked = 0;
const judge = (el, colour, least, what) => {
  const box = el.getBoundingClientRect();
  if (box.width < 2 || box.height < 2 || getComputedStyle(el).visibility === 'hidden') return;
  looked += 1;
  const is = ratio(el, colour);
  if (is < least) bad.push(`${what}: ${is.toFixed(2)} of ${least} (${el.tagName}.${el.className.baseVal ?? el.className})`);
};
const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
for (let node = walk.nextNode(); node; node = walk.nextNode()) {
  const el = node.parentElement;
  if (!node.data.trim() || ['SCRIPT', 'STYLE', 'NOSCRIPT'].includes(el.tagName)) continue;
  const style = getComputedStyle(el);
  judge(el, el instanceof SVGElement ? style.fill : style.color, 4.5, node.data.slice(0, 40));
}
for (const input of document.querySelectorAll('input')) {
  judge(input, getComputedStyle(input, '::placeholder').color, 4.5, 'a placeholder');
  judge(input, getComputedStyle(input).borderTopColor, 3, "an input's border");
}
for (const dot of document.querySelectorAll('.dot')) judge(dot.parentElement, getComputedStyle(dot).backgroundColor, 3, 'a dot');
for (const line of document.querySelectorAll('.chart .line')) judge(line, getComputedStyle(line).stroke, 3, 'a line');
return { bad, looked };
"""


def readable():
    for name in ["light", "dark"]:
        scheme(name)
        ground = js("return getComputedStyle(document.body).backgroundColor")
        found = js(CONTRAST)
        check(found["looked"] > 3 and not found["bad"], f"what is {name} can be read: {found}")
        picture(name)
        yield name, ground


def both_schemes():
    grounds = [ground for _, ground in readable()]
    check(grounds[0] != grounds[1], f"light and dark differ: {grounds}")
    scheme("light")


def fits(pixels):
    width(pixels)
    time_to_settle = "return document.documentElement.scrollWidth"
    check(js(time_to_settle) <= pixels, f"{js(time_to_settle)} pixels fit into {pixels}")
    picture(f"{pixels}px")
    driver.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


FOCUSED = """
const el = document.activeElement;
const style = getComputedStyle(el);
return { id: el.id, tag: el.tagName, text: el.textContent.slice(0, 30), region: el.getAttribute('role'),
  ring: style.outlineStyle !== 'none' && parseFloat(style.outlineWidth) >= 2, focused: el.matches(':focus-visible') };
"""


def keyboard():
    js("document.activeElement.blur(); scrollTo(0, 0)")
    stops = []
    for _ in range(60):
        driver.switch_to.active_element.send_keys(Keys.TAB)
        stop = js(FOCUSED)
        if stop["tag"] == "BODY":
            break
        check(stop["ring"] and stop["focused"], f"the focus can be seen: {stop}")
        stops.append(stop)
    order = [stop["id"] or stop["text"] for stop in stops]
    check(order[0] == "Skip to the figures", f"the way past comes first: {order}")
    for needed in ["pause", "filter", "Topic", "Lag", "Model"]:
        check(needed in order, f"{needed} can be reached: {order}")
    check(sum(stop["region"] == "region" for stop in stops) >= 3, f"what scrolls can be reached: {order}")
    head = next(head for head in driver.find_elements(By.CSS_SELECTOR, "#partition-heads button") if head.text == "Position")
    head.send_keys(Keys.ENTER)
    sort = "return document.querySelector('#partition-heads [aria-sort]')?.getAttribute('aria-sort')"
    check(js(sort) == "descending", "Enter sorts")
    head.send_keys(Keys.SPACE)
    check(js(sort) == "ascending", "and once more the other way")
    pause = driver.find_element(By.ID, "pause")
    pause.send_keys(Keys.SPACE)
    check(pause.get_attribute("aria-pressed") == "true" and text("state").startswith("Paused"), "Space pauses")
    pause.send_keys(Keys.SPACE)
    until("it goes on", lambda: not text("state").startswith("Paused"))


def nothing_ran():
    check(js("return window.hit") is None, "nothing of a record was run")
    check(js("return document.querySelectorAll('img, iframe, object, embed').length") == 0, "nothing of a record is HTML")
    check(js("return document.scripts.length") == 1, "there is one script, ours")


def run():
    driver.get(URL)
    until("it is ready", lambda: text("state") == "Ready")
    want("records")
    until("they are told", lambda: "in the lake" in text("rate-more") and number("rate-more") >= 60)
    check(text("lanes") == "2 of 2" and number("lag") == 0, f"figures: {text('lanes')}, {text('lag')}")
    until("the newest are shown", lambda: "virginica" in text("newest") and "petal_length" in text("newest"))
    want("hostile records")
    until("they are shown as they are", lambda: HOSTILE in text("newest") and HOSTILE in text("rejects"))
    nothing_ran()
    check(text("events") and "commit" in text("events"), "events are told")
    check("setosa" in text("classes") and text("model-next"), "classes and model are told")
    points = "return document.querySelector('#chart-rate .line')?.getAttribute('d').split('L').length"
    until("the chart has a past", lambda: js(points) > 2)
    before = number("rate-more")
    want("more records")
    until("they land while one looks", lambda: number("rate-more") > before)
    keyboard()
    both_schemes()
    fits(360)
    no_request_outside()
    quiet_console()

    want("outage")
    until("it is seen", lambda: text("state") == "Connection lost, trying again")
    check("has not been heard of since" in text("troubles"), "and since when")
    both_schemes()
    want("return")
    until("the end of it is seen", lambda: text("state") == "Ready")
    check(not driver.find_element(By.ID, "troubles").is_displayed(), "and no trouble is left")
    before = number("rate-more")
    want("more records")
    until("figures go on", lambda: number("rate-more") != before)
    no_request_outside()
    quiet_console(allowed=["ERR_CONNECTION_REFUSED", "ERR_EMPTY_RESPONSE", "ERR_CONNECTION_RESET", "ERR_INCOMPLETE_CHUNKED"])


def thousand():
    driver.get(URL)
    rows = "return document.querySelectorAll('#partitions tr').length"
    until("the worst are shown", lambda: js(rows) == 100)
    check(text("partitions-more").startswith("100 of 1,000"), text("partitions-more"))
    check(text("lanes") == "999 of 1,000" and number("lag") == 7000, f"sums are of all: {text('lanes')}, {text('lag')}")
    driver.find_element(By.ID, "all").click()
    until("all are shown", lambda: js(rows) == 1000)
    sort = next(head for head in driver.find_elements(By.CSS_SELECTOR, "#partition-heads button") if head.text == "No.")
    sort.click()
    first = "return document.querySelector('#partitions tr td').textContent"
    check(js(first) == "999", f"sorted by number: {js(first)}")
    driver.find_element(By.ID, "filter").send_keys("payments 998")
    until("one is left", lambda: js(rows) == 1 and text("partitions-more") == "1 of 1,000")
    position = "return document.querySelectorAll('#partitions td')[2].textContent"
    before = js(position)
    until("it moves", lambda: js(position) != before)
    driver.find_element(By.ID, "filter").clear()
    js("document.getElementById('filter').dispatchEvent(new Event('input'))")
    for part in ["troubles", "classes", "model", "newest", "rejects", "events", "outlets", "steps", "partitions"]:
        shown = js("return document.getElementById(arguments[0]).textContent", part)
        check(HOSTILE in shown, f"what is hostile is shown as text in {part}: {shown[:300]}")
    nothing_ran()
    both_schemes()
    fits(360)
    no_request_outside()
    quiet_console()


def token():
    driver.get(URL)
    field = until("it asks", lambda: driver.find_element(By.ID, "token"))
    field.send_keys("of-another-run-entirely", Keys.ENTER)
    until("a wrong one is refused", lambda: "not the token" in text("said"))
    for _ in readable():
        pass
    fits(360)
    field.clear()
    field.send_keys("planted-token-of-32-characters-x", Keys.ENTER)
    until("the page is shown", lambda: text("lanes") == "1 of 2")
    check("planted-token" not in driver.current_url and js("return document.cookie") == "", "the token is nowhere to be read")
    no_request_outside()
    quiet_console(allowed=["401 (Unauthorized)"])


try:
    {"run": run, "thousand": thousand, "token": token}[SCENE]()
    print("done", flush=True)
finally:
    driver.quit()
