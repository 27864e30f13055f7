'use strict';
// What comes from records is text: nothing here makes HTML of a string.

const SPAN_MS = 300_000; // of the charts
const GAP_MS = 7_000; // no line is drawn over more than that
const SILENT_MS = 5_000; // the run speaks every second
const RETRY_MS = [500, 1_000, 2_000, 4_000];
const ALL_EVERY_MS = 5_000;
const CLASSES_MAX = 8; // that have a colour of their own
const STEPS = ['fetch', 'decode', 'score', 'encode', 'stage', 'claim', 'publish'];

const $ = (id) => document.getElementById(id);
const state = {
  status: null, rates: null, points: [], heard: 0, lost: false, paused: false, tries: 0, heardAt: Date.now(), newest: null,
  source: null, sort: null, all: null, shows: new Map(), seen: new Set(),
};

// --- words ---------------------------------------------------------------------------------------------------------

const whole = new Intl.NumberFormat('en-GB', { maximumFractionDigits: 0 });
const short = new Intl.NumberFormat('en-GB', { notation: 'compact', maximumFractionDigits: 1 });
const clock = new Intl.DateTimeFormat('en-GB', { hour: '2-digit', minute: '2-digit', second: '2-digit' });
const day = new Intl.DateTimeFormat('en-GB', { day: '2-digit', month: 'short', hour: '2-digit', minute: '2-digit', second: '2-digit' });

const count = (n) => (n == null ? '–' : whole.format(n));
const few = (n) => (n < 10_000 ? whole.format(n) : short.format(n));
const rate = (n) => (n == null ? '–' : n > 0 && n < 10 ? n.toFixed(1) : whole.format(n));
const percent = (part, of) => (of > 0 ? `${(100 * part / of).toFixed(part > 0 && part / of < 0.1 ? 2 : 1)} %` : '–');

function span(seconds) {
  if (seconds == null) return '–';
  if (seconds < 10) return `${seconds.toFixed(1)} s`;
  if (seconds < 120) return `${Math.round(seconds)} s`;
  const minutes = Math.floor(seconds / 60);
  if (minutes < 120) return `${minutes} min`;
  const hours = Math.floor(minutes / 60);
  if (hours < 48) return `${hours} h ${minutes % 60} min`;
  return `${Math.floor(hours / 24)} d ${hours % 24} h`;
}

function bytes(n) {
  for (const [size, unit] of [[2 ** 30, 'GiB'], [2 ** 20, 'MiB'], [2 ** 10, 'KiB']]) {
    if (n >= size) return `${(n / size).toFixed(n >= 100 * size ? 0 : 1)} ${unit}`;
  }
  return `${n} B`;
}

function time(ms, now) {
  const at = new Date(ms);
  if (Number.isNaN(at.getTime())) return String(ms);
  return Math.abs(now - ms) < 43_200_000 ? clock.format(at) : day.format(at);
}

// --- making and changing what is shown -------------------------------------------------------------------------------

function el(name, kind, ...inside) {
  const made = document.createElement(name);
  if (kind) made.className = kind;
  made.append(...inside.map((part) => (part instanceof Node ? part : String(part))));
  return made;
}

function draw(svg, name, attributes, text) {
  const made = document.createElementNS('http://www.w3.org/2000/svg', name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  if (text != null) made.textContent = text;
  svg.append(made);
  return made;
}

function say(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

function chip(node, kind, text) {
  if (node.className !== `chip ${kind}`) node.className = `chip ${kind}`;
  say(node, text);
}

// One child for each item, kept by its key, in the order of the items. `make` gives a node and a way to bring it up to date.
function list(parent, items, key, make, none) {
  const known = state.shows.get(parent) ?? new Map();
  const kept = new Map();
  let place = parent.firstChild;
  for (const item of items) {
    const name = key(item);
    if (kept.has(name)) continue;
    const entry = known.get(name) ?? make(item);
    entry.update?.(item);
    kept.set(name, entry);
    if (entry.node === place) place = place.nextSibling;
    else parent.insertBefore(entry.node, place);
  }
  while (place) {
    const next = place.nextSibling;
    place.remove();
    place = next;
  }
  state.shows.set(parent, kept);
  if (kept.size === 0) parent.append(emptied(parent, none));
}

function emptied(parent, text) {
  if (parent.tagName !== 'TBODY') return el('li', 'none', text);
  const cell = el('td', 'none', text);
  cell.colSpan = 20;
  return el('tr', '', cell);
}

// A row whose cells are said anew each time; the first is its head.
function row(kinds) {
  const node = el('tr');
  const cells = kinds.map((kind, i) => {
    const cell = el(i === 0 ? 'th' : 'td', kind);
    if (i === 0) cell.scope = 'row';
    node.append(cell);
    return cell;
  });
  return { node, cells };
}

function meter(share) {
  const fill = el('span');
  const node = el('span', 'meter', fill);
  node.setAttribute('aria-hidden', 'true');
  const to = (value) => { fill.style.width = `${(100 * Math.min(1, Math.max(0, value))).toFixed(1)}%`; };
  to(share);
  return { node, to };
}

// --- charts ----------------------------------------------------------------------------------------------------------

// A round number that is not below `most`.
function ceiling(most) {
  if (!(most > 0)) return 1;
  const step = 10 ** Math.floor(Math.log10(most));
  return [1, 1.5, 2, 3, 4, 5, 6, 8, 10].map((times) => times * step).find((top) => top >= most);
}

function frame(svg, top, say_top, label) {
  svg.replaceChildren();
  const [width, height] = [svg.clientWidth || 320, svg.clientHeight || 150];
  const box = { left: 44, right: width - 4, top: 8, bottom: height - 20 };
  svg.setAttribute('viewBox', `0 0 ${width} ${height}`);
  svg.setAttribute('aria-label', label);
  for (const part of [0, 0.5, 1]) {
    const y = box.bottom - part * (box.bottom - box.top);
    draw(svg, 'line', { class: 'grid', x1: box.left, x2: box.right, y1: y, y2: y });
    draw(svg, 'text', { x: box.left - 6, y: y + 4, 'text-anchor': 'end' }, say_top(part * top));
  }
  const end = Math.max(state.status?.now_ms ?? 0, state.points.at(-1)?.at_ms ?? 0);
  for (const [minutes, anchor] of [[5, 'start'], [4, 'middle'], [3, 'middle'], [2, 'middle'], [1, 'middle'], [0, 'end']]) {
    const x = box.right - (minutes * 60_000 / SPAN_MS) * (box.right - box.left);
    if (width > 420 || minutes % 5 === 0) draw(svg, 'text', { x, y: height - 4, 'text-anchor': anchor }, minutes ? `−${minutes} min` : 'now');
  }
  box.x = (at) => box.right - ((end - at) / SPAN_MS) * (box.right - box.left);
  box.y = (value) => box.bottom - (value / top) * (box.bottom - box.top);
  box.shown = state.points.filter((point) => end - point.at_ms <= SPAN_MS);
  return box;
}

// Runs of points with no gap between them.
function stretches(points) {
  const found = [];
  points.forEach((point, i) => {
    if (i > 0 && point.at_ms - points[i - 1].at_ms <= GAP_MS) found.at(-1).push(point);
    else found.push([point]);
  });
  return found;
}

function line_chart(svg, readout, value, words, kind, label) {
  const shown = state.points.map(value);
  const most = Math.max(0, ...shown);
  const box = frame(svg, Math.max(2, ceiling(most)), few, `${label}, over the last five minutes: now ${words(shown.at(-1) ?? 0)}, at most ${words(most)}`);
  for (const points of stretches(box.shown)) {
    const path = points.map((point) => `${box.x(point.at_ms).toFixed(1)},${box.y(value(point)).toFixed(1)}`);
    const [first, last] = [box.x(points[0].at_ms), box.x(points.at(-1).at_ms)];
    draw(svg, 'path', { class: `area ${kind}`, d: `M${first.toFixed(1)},${box.bottom}L${path.join('L')}L${last.toFixed(1)},${box.bottom}Z` });
    draw(svg, 'path', { class: `line ${kind}`, d: `M${path.join('L')}` });
  }
  cursor(svg, box, readout, (point) => words(value(point)), `at most ${words(most)}`);
}

// Shares of what was scored between two points; where nothing was, those before hold.
function shares(points, places) {
  let before = null;
  return points.map((point, i) => {
    const earlier = i > 0 ? points[i - 1].classes : [];
    const made = point.classes.map((n, c) => Math.max(0, n - (earlier[c] ?? 0)));
    const fresh = i > 0 && point.at_ms - points[i - 1].at_ms > GAP_MS ? point.classes : made;
    const sum = fresh.reduce((a, b) => a + b, 0);
    if (sum > 0) before = places.map((of) => of.reduce((a, c) => a + (fresh[c] ?? 0), 0) / sum);
    return { at_ms: point.at_ms, shares: before };
  }).filter((point) => point.shares);
}

// The classes with a colour of their own, largest first, and all others as one: name, colour, places among the classes.
function bands() {
  const known = state.status.classes.map((of, i) => ({ ...of, i, colour: i % CLASSES_MAX }));
  const sorted = known.length > CLASSES_MAX ? [...known].sort((a, b) => b.records - a.records) : known;
  const own = sorted.slice(0, CLASSES_MAX).map((of, c) => ({ name: of.name, colour: known.length > CLASSES_MAX ? c : of.colour, places: [of.i], records: of.records }));
  const rest = sorted.slice(CLASSES_MAX);
  if (rest.length) own.push({ name: `${rest.length} others`, colour: 8, places: rest.map((of) => of.i), records: rest.reduce((a, of) => a + of.records, 0) });
  return own;
}

function class_chart(shown) {
  const svg = $('chart-classes');
  const names = shown.map((band) => band.name).join(', ');
  const box = frame(svg, 1, (share) => `${Math.round(share * 100)} %`, `Shares of the predicted classes over the last five minutes: ${names}`);
  const points = shares(box.shown, shown.map((band) => band.places));
  for (const stretch of stretches(points)) {
    shown.forEach((band, b) => {
      const below = (point) => point.shares.slice(0, b).reduce((a, x) => a + x, 0);
      const at = (point, share) => `${box.x(point.at_ms).toFixed(1)},${box.y(Math.min(1, share)).toFixed(1)}`;
      const upper = stretch.map((point) => at(point, below(point) + point.shares[b]));
      const lower = [...stretch].reverse().map((point) => at(point, below(point)));
      draw(svg, 'path', { class: `c${band.colour}`, d: `M${upper.join('L')}L${lower.join('L')}Z` });
    });
  }
  const told = (point) => shown.map((band, b) => `${band.name} ${percent(point.shares[b], 1)}`).slice(0, 4).join(' · ');
  cursor(svg, { ...box, shown: points }, $('read-classes'), told, '');
  return points.at(-1)?.shares ?? null;
}

// What stands under the pointer is told beside the heading.
function cursor(svg, box, readout, words, otherwise) {
  const mark = draw(svg, 'line', { class: 'cursor', y1: box.top, y2: box.bottom, visibility: 'hidden' });
  const show = () => {
    const x = svg.pointer;
    const near = x == null ? null : box.shown.reduce((best, point) =>
      (best && Math.abs(box.x(best.at_ms) - x) <= Math.abs(box.x(point.at_ms) - x) ? best : point), null);
    mark.setAttribute('visibility', near ? 'visible' : 'hidden');
    if (near) for (const end of ['x1', 'x2']) mark.setAttribute(end, box.x(near.at_ms));
    say(readout, near ? `${clock.format(near.at_ms)}: ${words(near)}` : otherwise);
  };
  svg.show = show;
  show();
}

for (const svg of document.querySelectorAll('.chart')) {
  svg.addEventListener('pointermove', (moved) => { svg.pointer = moved.clientX - svg.getBoundingClientRect().left; svg.show?.(); });
  svg.addEventListener('pointerleave', () => { svg.pointer = null; svg.show?.(); });
}

// --- the parts of the page -------------------------------------------------------------------------------------------

function show_state() {
  const { status } = state;
  const chipped = $('state');
  document.body.classList.toggle('lost', state.lost);
  if (state.lost) {
    chip(chipped, 'bad', 'Connection lost, trying again');
    document.title = 'Lost · Alluvium';
    const since = `The run has not been heard of since ${clock.format(state.heardAt)}; what is shown is of then.`;
    troubles([since], '');
    return;
  }
  if (!status) return;
  if (state.paused) chip(chipped, 'wait', `Paused at ${clock.format(status.now_ms)}`);
  else if (status.ready) chip(chipped, 'ok', 'Ready');
  else chip(chipped, status.totals.lanes_stopped ? 'bad' : 'wait', 'Not ready');
  document.title = `${rate(state.rates.records_per_second)}/s · Alluvium`;
  troubles(status.ready ? [] : status.not_ready, status.totals.lanes_stopped ? '' : 'wait');
}

function troubles(lines, kind) {
  const node = $('troubles');
  node.className = `troubles ${kind}`;
  node.hidden = lines.length === 0;
  list(node, lines, (line) => line, (line) => ({ node: el('li', '', line) }), '');
}

function show_tiles() {
  const { status, rates } = state;
  const { totals, memory, group } = status;
  say($('run'), [status.mode, status.version, `up ${span((status.now_ms - status.started_ms) / 1000)}`].filter(Boolean).join(' · '));
  say($('rate'), rate(rates.records_per_second));
  say($('rate-more'), `${count(totals.records)} in the lake · ${count(totals.segments)} segments, ${bytes(totals.bytes)}`);
  say($('lag'), `${count(totals.lag_records)}`);
  const oldest = totals.lag_seconds == null ? 'records are not in the lake yet' : `records; the oldest is ${span(totals.lag_seconds)} old`;
  say($('lag-more'), totals.lag_records ? oldest : 'records: all that was read is in the lake');
  say($('fresh'), span(totals.freshness_seconds));
  say($('rejected'), count(totals.rejected));
  say($('rejected-more'), totals.records ? `${percent(totals.rejected, totals.records)} of all records` : 'of all records');
  say($('lanes'), `${count(totals.lanes_open)} of ${count(totals.lanes)}`);
  const stopped = totals.lanes_stopped ? `${count(totals.lanes_stopped)} stopped` : 'none stopped';
  say($('lanes-more'), group ? `${stopped} · group ${group.name}, ${group.joined ? `generation ${group.generation}` : 'not joined'}` : stopped);
  say($('memory'), bytes(memory.used_bytes));
  say($('memory-more'), `of ${bytes(memory.limit_bytes)}; most so far ${bytes(memory.peak_bytes)}`);
  const extra = [[totals.filtered, 'filtered'], [totals.gap_offsets, 'gone before they were read'], [totals.fences, 'fences'], [totals.retries, 'retries']];
  say($('foot'), [`As of ${clock.format(status.now_ms)}`, ...extra.filter(([n]) => n).map(([n, what]) => `${count(n)} ${what}`)].join(' · '));
}

function show_charts() {
  line_chart($('chart-rate'), $('read-rate'), (point) => point.records_per_second, rate, '', 'Records a second');
  line_chart($('chart-lag'), $('read-lag'), (point) => point.lag_records, count, 'second', 'Records that are not in the lake yet');
}

function show_classes() {
  const shown = bands();
  const lately = class_chart(shown);
  const all = shown.reduce((sum, band) => sum + band.records, 0);
  list($('classes'), shown.map((band, b) => ({ ...band, all, lately: lately?.[b] })), (band) => `${band.colour} ${band.name}`, (band) => {
    const { node, cells } = row(['', 'n', 'n', 'n']);
    cells[0].append(el('span', `dot c${band.colour}`), band.name);
    return { node, update: (now) => {
      say(cells[1], count(now.records));
      say(cells[2], percent(now.records, now.all));
      say(cells[3], now.lately == null ? '–' : percent(now.lately, 1));
    } };
  }, 'Nothing has been scored yet.');
}

function show_model() {
  const { model, steps } = state.status;
  $('model').hidden = !model && Object.keys(steps).length === 0;
  say($('model-name'), model ? `${model.name}, version ${model.version}` : '');
  list($('model-metrics'), model?.metrics ?? [], ([name]) => name, ([name]) => {
    const value = el('dd');
    return { node: el('div', '', el('dt', '', name.replaceAll('_', ' ')), value), update: ([, n]) => say(value, figure(n)) };
  }, '');
  if (!model?.metrics.length) $('model-metrics').replaceChildren();
  say($('model-next'), model?.next ?? '');
  $('model-next').hidden = $('model-next').previousElementSibling.hidden = !model?.next;
  // To fetch is mostly to wait for records: beside it nothing else would be seen.
  const works = ([name]) => name !== 'fetch';
  const sum = Object.entries(steps).filter(works).reduce((all, [, step]) => all + step.seconds, 0);
  const order = ([name]) => (STEPS.includes(name) ? STEPS.indexOf(name) : STEPS.length);
  const taken = Object.entries(steps).sort((a, b) => order(a) - order(b)).map(([name, { seconds }]) => ({ name, seconds, sum }));
  $('steps-part').hidden = taken.length === 0;
  list($('steps'), taken, (step) => step.name, (step) => {
    const { node, cells } = row(['', '', 'n']);
    const bar = meter(0);
    say(cells[0], works([step.name]) ? step.name : `${step.name}, with waiting`);
    if (works([step.name])) cells[1].append(bar.node);
    return { node, update: (now) => { bar.to(now.sum > 0 ? now.seconds / now.sum : 0); say(cells[2], span(now.seconds)); } };
  }, '');
}

const figure = (n) => (n == null ? '–' : Number.isInteger(n) && Math.abs(n) > 1 ? count(n) : n.toFixed(3));

function place(of) {
  return el('span', 'place', `${of.dataset} · ${of.partition} · ${of.offset}`);
}

function show_newest() {
  const { newest, now_ms } = state.status;
  say($('newest-more'), newest.length ? 'dataset · partition · offset' : '');
  const key = (record) => `${record.dataset}/${record.partition}/${record.offset}`;
  const first = state.seen.size === 0;
  list($('newest'), newest, key, (record) => {
    const { node, cells } = row(['nowrap', '', '', 'nowrap', '']);
    say(cells[0], time(record.event_ms, now_ms));
    cells[1].append(place(record));
    say(cells[2], record.prediction);
    cells[3].append(meter(record.confidence).node, record.confidence.toFixed(3));
    cells[4].append(...record.fields.map(([name, value]) => el('span', 'field', el('b', '', `${name} `), value || '–')));
    if (!first && !state.seen.has(key(record))) node.className = 'fresh';
    return { node };
  }, 'No record is in the lake yet.');
  state.seen = new Set(newest.map(key));
}

function show_rejects() {
  const { rejects, totals } = state.status;
  say($('rejects-more'), totals.rejected ? `${count(totals.rejected)} in all` : '');
  list($('rejects'), rejects, (reject) => reject.reason, (reject) => {
    const [n, where, detail, value] = [el('span'), el('p', 'place'), el('p', 'detail'), el('pre', 'value')];
    value.tabIndex = 0;
    const node = el('li', '', el('p', 'reason', el('span', 'mono', reject.reason), n), detail, value, where);
    return { node, update: ({ records, sample }) => {
      say(n, count(records));
      for (const part of [where, detail, value]) part.hidden = !sample;
      if (!sample) return;
      say(where, `newest: ${sample.dataset} · partition ${sample.partition} · offset ${sample.offset}`);
      say(detail, sample.detail);
      say(value, sample.value);
      value.hidden = sample.value === '';
    } };
  }, 'No record was rejected.');
}

const KINDS = { stop: 'k-bad', fence: 'k-warn', retry: 'k-warn', gap: 'k-warn' };

function show_events() {
  const { events, now_ms } = state.status;
  let twins = new Map();
  const keyed = events.map((event) => {
    const key = `${event.at_ms} ${event.kind} ${event.text}`;
    twins.set(key, (twins.get(key) ?? 0) + 1);
    return { ...event, key: `${key} ${twins.get(key)}` };
  });
  list($('events'), keyed, (event) => event.key, (event) => ({ node: el('li', '',
    el('time', '', time(event.at_ms, now_ms)), el('span', `kind ${KINDS[event.kind] ?? ''}`, event.kind), el('span', 'text', event.text)) }), 'Nothing yet.');
}

const COLUMNS = [
  { name: 'Topic', of: (p) => p.topic, say: (p) => (p.topic === p.dataset ? p.topic : `${p.topic} → ${p.dataset}`) },
  { name: 'No.', of: (p) => p.partition, kind: 'n', say: (p) => String(p.partition) },
  { name: 'State', of: (p) => p.state, say: (p) => p.state },
  { name: 'Position', of: (p) => p.position, kind: 'n', say: (p) => count(p.position) },
  { name: 'End', of: (p) => p.end, kind: 'n', say: (p) => count(p.end) },
  { name: 'Lag', of: (p) => p.lag_records, kind: 'n', say: (p) => count(p.lag_records) },
  { name: 'Lag, time', of: (p) => p.lag_seconds ?? -1, kind: 'n', say: (p) => span(p.lag_seconds) },
  { name: 'Freshness', of: (p) => p.freshness_seconds ?? -1, kind: 'n', say: (p) => span(p.freshness_seconds) },
  { name: 'Scored', of: (p) => p.scored, kind: 'n', say: (p) => count(p.scored) },
  { name: 'Rejected', of: (p) => p.rejected, kind: 'n', say: (p) => count(p.rejected) },
  { name: 'Model', of: (p) => p.model ?? '', say: (p) => p.model ?? '–' },
];

function show_heads() {
  COLUMNS.forEach((column, c) => {
    const button = el('button', '', column.name);
    button.type = 'button';
    const head = el('th', column.kind ?? '', button);
    head.scope = 'col';
    button.addEventListener('click', () => {
      const down = state.sort?.column === c ? !state.sort.down : column.kind === 'n';
      state.sort = { column: c, down };
      [...$('partition-heads').children].forEach((other) => other.removeAttribute('aria-sort'));
      head.setAttribute('aria-sort', down ? 'descending' : 'ascending');
      if (state.status) show_partitions();
    });
    $('partition-heads').append(head);
  });
}

function chosen(partitions) {
  const words = $('filter').value.toLowerCase().split(/\s+/).filter(Boolean);
  const text = (p) => `${p.topic} ${p.dataset} ${p.partition} ${p.state} ${p.trouble ?? ''} ${p.model ?? ''}`.toLowerCase();
  const found = words.length ? partitions.filter((p) => words.every((word) => text(p).includes(word))) : [...partitions];
  if (state.sort) {
    const { of } = COLUMNS[state.sort.column];
    const way = state.sort.down ? -1 : 1;
    found.sort((a, b) => way * (typeof of(a) === 'number' ? of(a) - of(b) : of(a).localeCompare(of(b))));
  }
  return found;
}

function show_partitions() {
  const { partitions, partitions_left_out: more } = state.all ?? state.status;
  const found = chosen(partitions);
  const all = partitions.length + more;
  $('all').hidden = !state.all && state.status.partitions_left_out === 0;
  say($('all'), `All ${count(all)}`);
  say($('partitions-more'), found.length === all ? `${count(all)}${state.sort ? '' : ', those that need a look first'}` : `${count(found.length)} of ${count(all)}`);
  list($('partitions'), found, (p) => `${p.topic}/${p.partition}`, () => {
    const { node, cells } = row(COLUMNS.map((column) => column.kind ?? ''));
    const [told, trouble] = [el('span'), el('span', 'trouble')];
    cells[2].append(told, trouble);
    return { node, update: (p) => COLUMNS.forEach((column, c) => {
      if (c !== 2) return say(cells[c], column.say(p));
      const known = ['opening', 'running', 'waiting', 'stopped', 'ended'].includes(p.state);
      told.className = known ? `s-${p.state}` : '';
      say(told, p.state);
      say(trouble, p.trouble ?? '');
      trouble.hidden = !p.trouble;
    }) };
  }, partitions.length ? 'No partition fits the filter.' : 'No partition is open yet.');
}

function show_outlets() {
  const { outlets } = state.status;
  $('outlets-part').hidden = outlets.length === 0;
  list($('outlets'), outlets, (outlet) => `${outlet.name} ${outlet.to}`, (outlet) => {
    const { node, cells } = row(['', '', 'n', 'n']);
    say(cells[0], outlet.name);
    say(cells[1], outlet.to);
    return { node, update: (now) => { say(cells[2], count(now.sent)); say(cells[3], count(now.behind)); } };
  }, '');
}

function show() {
  show_state();
  if (!state.status) return;
  show_tiles();
  show_charts();
  show_classes();
  show_model();
  show_newest();
  show_rejects();
  show_events();
  if (!state.all) show_partitions();
  show_outlets();
}

// --- the run speaks --------------------------------------------------------------------------------------------------

function take_points(points) {
  const first = points[0]?.at_ms ?? Infinity;
  state.points = [...state.points.filter((point) => point.at_ms < first), ...points];
  const newest = state.points.at(-1)?.at_ms ?? 0;
  state.points = state.points.filter((point) => newest - point.at_ms <= SPAN_MS + GAP_MS);
}

function hear(told) {
  state.heard = performance.now();
  state.tries = 0;
  state.lost = false;
  state.heardAt = Date.now();
  if (told.point) take_points([told.point]);
  state.newest = told;
  if (state.paused) show_state();
  else bring_up_to_date();
}

function bring_up_to_date() {
  if (!state.newest) return;
  ({ status: state.status, rates: state.rates } = state.newest);
  show();
}

function connect() {
  const source = new EventSource('/events');
  state.source = source;
  state.heard = performance.now();
  source.addEventListener('history', (event) => take_points(JSON.parse(event.data)));
  source.addEventListener('now', (event) => hear(JSON.parse(event.data)));
  source.addEventListener('error', () => lose(source));
}

async function lose(source) {
  if (state.source !== source) return;
  source.close();
  state.source = null;
  state.lost = true;
  show_state();
  const wait = RETRY_MS[Math.min(state.tries++, RETRY_MS.length - 1)];
  await new Promise((done) => setTimeout(done, wait));
  // A run with another token answers, and wants it.
  const answer = await fetch('/status', { method: 'HEAD', cache: 'no-store' }).catch(() => null);
  if (answer?.status === 401) location.reload();
  else connect();
}

async function fetch_all() {
  const answer = await fetch('/status', { cache: 'no-store' }).catch(() => null);
  if (!answer?.ok || $('all').getAttribute('aria-pressed') !== 'true') return;
  state.all = await answer.json();
  show_partitions();
}

$('pause').addEventListener('click', () => {
  state.paused = !state.paused;
  $('pause').setAttribute('aria-pressed', state.paused);
  if (state.paused) show_state();
  else bring_up_to_date();
});
$('filter').addEventListener('input', () => state.status && show_partitions());
$('all').addEventListener('click', () => {
  const on = $('all').getAttribute('aria-pressed') !== 'true';
  $('all').setAttribute('aria-pressed', on);
  if (on) return fetch_all();
  state.all = null;
  show_partitions();
});
setInterval(() => {
  if (state.source && performance.now() - state.heard > SILENT_MS) lose(state.source);
}, 1_000);
setInterval(() => {
  if (!state.paused && !state.lost && $('all').getAttribute('aria-pressed') === 'true') fetch_all();
}, ALL_EVERY_MS);
addEventListener('resize', () => state.status && (show_charts(), show_classes()));
show_heads();
connect();
