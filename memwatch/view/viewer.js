// The page: what is shown and chosen, and what the mouse and the keys do to it.

const $ = id => document.getElementById(id);
const GUTTER = 230;  // names at the left of the lanes, in pixels; viewer.css has it, too

// With more processes than that the groups are shown first, folded.
const MANY = 300;

const state = {
  runs: [],
  run: null,
  view: null,
  order: 'parent',
  oneScale: true,
  inView: true,
  hidden: new Set(),  // of the legend: groups by number, and 'total', 'pss', 'limit'
  asked: new Set(),   // of the legend: what the reader asked for himself
  matches: null,      // which processes the search finds; null for all
  focus: null,        // the group that is chosen
  pinned: null,
  hovered: null,
  cursor: null,       // the time under the pointer
};
const chart = new Chart($('chart'), state);
const lanes = new Lanes(state);
const contexts = {};
let colours = null;
let tables = null;
let isDirty = false;
let drawTime = 0;
let painted = null;

// ---- Looks ----

const system = matchMedia('(prefers-color-scheme: dark)');
let theme = null;  // that the reader chose; null for the system's

function setTheme(shown) {
  document.documentElement.dataset.theme = shown;
  $('theme').textContent = shown === 'dark' ? 'Light' : 'Dark';
  readColours();
}

function ownTheme() { return theme ?? (system.matches ? 'dark' : 'light'); }

function readColours() {
  const style = getComputedStyle($('app'));
  const value = name => style.getPropertyValue(`--${name}`).trim();
  const numbered = (name, count) => Array.from({length: count}, (_, i) => value(`${name}${i}`));
  colours = {
    groups: [...numbered('group', COLOURS), value('rest')],
    runs: numbered('run', 6),
    font: value('font'),
    mono: value('mono'),
  };
  for (const name of ['ink', 'soft', 'faint', 'grid', 'line', 'ground', 'halo', 'band', 'chosen', 'hover', 'pss', 'limit']) {
    colours[name] = value(name);
  }
}

function repaint() {
  showLegend();
  showRuns();
  tables.processes.draw();
  tables.groups.draw();
  draw();
}

// ---- Drawing ----

// Fits a canvas to its place, in device pixels.
function fit(canvas, width, height) {
  const ratio = devicePixelRatio || 1;
  const [w, h] = [Math.max(1, Math.round(width * ratio)), Math.max(1, Math.round(height * ratio))];
  if (canvas.width !== w || canvas.height !== h) {
    canvas.width = w;
    canvas.height = h;
    canvas.style.width = `${width}px`;
    canvas.style.height = `${height}px`;
  }
  contexts[canvas.id] ??= canvas.getContext('2d');
  return contexts[canvas.id];
}

function timeWidth() { return Math.max(50, $('lanes').clientWidth - GUTTER); }

function draw() {
  isDirty = false;
  const start = performance.now();
  const ratio = devicePixelRatio || 1;
  const width = timeWidth();
  const height = $('totals').clientHeight;
  const upper = fit($('chart'), width, height);
  chart.draw(upper, upper.canvas.width, upper.canvas.height, ratio, colours);
  const box = $('lanes');
  lanes.arrange();
  $('lane-count').textContent = laneCount();
  const whole = lanes.length * ROW;
  $('lane-space').style.height = `${Math.max(0, whole - box.clientHeight)}px`;
  const lower = fit($('lane-canvas'), box.clientWidth, box.clientHeight);
  lanes.draw(lower, lower.canvas.width, lower.canvas.height, ratio, colours, GUTTER, box.scrollTop);
  drawCursor(upper, 0, ratio, chart.height);
  drawCursor(lower, GUTTER * ratio, ratio, lower.canvas.height);
  drawTime = performance.now() - start;
}

function drawCursor(context, left, ratio, height) {
  if (state.cursor === null) return;
  const x = left + (state.cursor - state.view.from) / state.view.span * (context.canvas.width - left);
  if (x < left || x > context.canvas.width) return;
  context.fillStyle = colours.ink;
  context.globalAlpha = 0.55;
  context.fillRect(Math.round(x), 0, ratio, height);
  context.globalAlpha = 1;
}

function redraw() {
  if (isDirty) return;
  isDirty = true;
  requestAnimationFrame(draw);
}

function laneCount() {
  const {run} = state;
  const all = `${formatNumber(run.count)} process${run.count === 1 ? '' : 'es'}`;
  return lanes.shown === run.count ? all : `${formatNumber(lanes.shown)} of ${all}`;
}

// Another stretch of time: the lane under the pointer, or else the first, stays where it is.
function move(change) {
  const box = $('lanes');
  const anchor = anchorRow(box.scrollTop);
  change();
  hideTip();
  if (state.inView && anchor) {
    lanes.arrange();
    $('lane-space').style.height = `${Math.max(0, lanes.length * ROW - box.clientHeight)}px`;
    box.scrollTop = lanes.rowOf(anchor.process) * ROW - anchor.offset;
  }
  redraw();
}

function anchorRow(scroll) {
  if (!lanes.length || scroll === 0 && state.hovered === null) return null;
  let row = state.hovered === null ? Math.floor(scroll / ROW) : lanes.rowOf(state.hovered);
  while (row < lanes.length && lanes.rows[row] < 0) row++;
  return row < lanes.length ? {process: lanes.rows[row], offset: row * ROW - scroll} : null;
}

// ---- The top of the page ----

function showRun() {
  const {run} = state;
  $('command').textContent = run.command;
  $('command').title = `${run.command}\n${run.label}, started ${run.started}${run.host ? ` on ${run.host}` : ''}`;
  document.title = `${run.command} · memwatch`;
  $('facts').replaceChildren(...run.facts.map(([name, value, how], i) =>
    element('div', {className: i ? '' : 'main'}, element('dt', {textContent: name}),
      element('dd', {textContent: value}), element('dd', {textContent: how, className: 'how'}))));
  const [peak] = run.facts;
  $('chart').setAttribute('aria-label', `Memory over time. ${peak[0]}: ${peak[1]} (${peak[2]})`);
  const notes = [...run.notes];
  if (!run.has_samples) {
    notes.unshift('This file has no samples of single processes: each is drawn as high as its peak, in dashes, for all its life.');
  }
  if (!run.tick.length) notes.unshift('This file has no totals over time: only the highest is known.');
  $('notes').replaceChildren(...notes.map(note => element('li', {textContent: note})));
  $('known').firstElementChild.textContent = `How these numbers are known: ${notes[0] ?? ''}`;
  const cut = run.cut_short ? run.notes.find(note => note.startsWith('Sampling ')) : null;
  $('cut').hidden = !cut;
  $('cut').textContent = cut ?? '';
}

function showRuns() {
  const {runs} = state;
  $('runs').hidden = runs.length < 2;
  $('runs').replaceChildren(...runs.map((run, i) => {
    const button = element('button', {'aria-pressed': String(run === state.run), title: run.command},
      swatch(colours.runs[i % colours.runs.length]), run.label.split('/').pop(),
      element('small', {textContent: `${run.max_total === null ? 'peak unknown' : formatSize(run.max_total)}, ${formatDuration(run.duration)}`}));
    button.addEventListener('click', () => chooseRun(run));
    return button;
  }));
}

function swatch(colour, kind = '') {
  const made = element('i', {className: `swatch ${kind}`, 'aria-hidden': 'true'});
  made.style.color = colour;
  return made;
}

function showLegend() {
  const {run, hidden} = state;
  const entries = [];
  if (run.total.length) entries.push(['total', 'Total', colours.ink, 'stroke', run.max_total]);
  if (run.pss_total.length) entries.push(['pss', 'PSS, shared once', colours.pss, 'point', null]);
  if (run.limit !== null) entries.push(['limit', 'Memory limit', colours.limit, 'dash', run.limit]);
  run.stack.forEach((_, g) => {
    const group = g < Math.min(COLOURS, run.groups.length) ? run.groups[g] : null;
    entries.push([g, group ? group[0] : 'other', colours.groups[group ? g : COLOURS], '', group ? group[2] : null]);
  });
  $('legend').replaceChildren(...entries.map(([key, text, colour, kind, size]) => {
    const isShown = key === 'limit' ? chart.showsLimit() : !hidden.has(key);
    const button = element('button', {'aria-pressed': String(isShown)},
      swatch(colour, kind), element('span', {textContent: text}),
      element('small', {textContent: size === null ? '' : formatSize(size)}));
    if (key === 'limit' && !isShown && !hidden.has(key)) {
      button.title = 'Far above the peak: click to show it';
      button.className = 'far';
    }
    button.dataset.key = key;
    button.addEventListener('click', () => toggle(key, isShown));
    return button;
  }));
}

function toggle(key, isShown) {
  if (isShown) state.hidden.add(key);
  else state.hidden.delete(key);
  if (key === 'limit') state.asked[isShown ? 'delete' : 'add'](key);
  chart.choose();
  showLegend();
  $('legend').querySelector(`[data-key="${key}"]`).focus();
  redraw();
}

// ---- What is chosen ----

function chooseRun(run) {
  state.run = run;
  state.hidden = new Set([...state.hidden].filter(key => typeof key === 'string'));
  state.focus = null;
  state.hovered = null;
  state.order = run.count > MANY ? 'command' : 'parent';
  $('lanes').scrollTop = 0;
  showRun();
  chart.choose();
  lanes.choose();
  if (run.count > MANY) lanes.foldAll();
  press($('by-parent'), run.count <= MANY);
  press($('by-command'), run.count > MANY);
  makeTables();
  showFocus();
  showLegend();
  showRuns();
  search();
  state.pinned = null;
  showDetails();
  draw();
}

function makeTables() {
  const {run} = state;
  const known = value => (value < 0 ? null : value);
  const cpu = p => (run.user[p] < 0 ? null : run.user[p] + run.system[p]);
  tables = {
    processes: new Table($('process-table'), 'Processes', [
      {title: 'Process', wide: 'minmax(110px, 1.1fr)', text: p => run.nameOf(p), order: p => run.nameOf(p), swatch: p => swatch(colours.groups[run.colourOf(p)])},
      {title: 'PID', wide: '70px', number: true, text: p => run.pid[p], order: p => run.pid[p]},
      {title: 'Peak RSS', wide: '92px', number: true, first: true, text: p => (run.sourceOf(p) === 'unknown' ? 'unknown' : formatSize(run.peak[p])), order: p => (run.sourceOf(p) === 'unknown' ? null : run.peak[p])},
      {title: 'How known', wide: '84px', text: p => run.sourceOf(p), order: p => run.peak_source[p], hint: 'exact; watermark and sampled are lower bounds'},
      {title: 'Start', wide: '100px', number: true, text: p => formatTime(run.begin[p], 1e3), order: p => run.begin[p]},
      {title: 'Lived', wide: '84px', number: true, text: p => formatDuration(run.end[p] - run.begin[p]), order: p => run.end[p] - run.begin[p]},
      {title: 'CPU', wide: '84px', number: true, text: p => (cpu(p) === null ? '' : formatDuration(cpu(p))), order: cpu},
      {title: 'Exit', wide: '90px', text: p => exitText(run, p), order: p => known(run.status[p])},
      {title: 'Command line', wide: 'minmax(180px, 4fr)', kind: 'command', text: p => run.lineOf(p) ?? 'unknown', order: p => run.lineOf(p)},
    ], p => pin(p === state.pinned ? null : p, {showLane: true})),
    groups: new Table($('group-table'), 'Groups of processes, by command', [
      {title: 'Group', wide: 'minmax(140px, 2fr)', text: g => run.groups[g][0], order: g => run.groups[g][0], swatch: g => swatch(colours.groups[Math.min(g, COLOURS)])},
      {title: 'Processes', wide: '110px', number: true, text: g => formatNumber(run.groups[g][1]), order: g => run.groups[g][1]},
      {title: 'Peak at one time', wide: '150px', number: true, first: true, text: g => sizeOr(run.groups[g][2]), order: g => run.groups[g][2]},
      {title: 'at', wide: '110px', number: true, text: g => (run.groups[g][3] === null ? '' : formatTime(run.groups[g][3], 1e3)), order: g => run.groups[g][3]},
      {title: 'Sum of peaks', wide: '150px', number: true, text: g => sizeOr(run.groups[g][4]), order: g => run.groups[g][4], hint: 'The peaks of its processes added up, although they need not have come together'},
    ], g => focusGroup(g === state.focus ? null : g)),
  };
}

function sizeOr(size) { return size === null ? 'unknown' : formatSize(size); }

// As wait(2) gives it.
function exitText(run, p) {
  if (run.running[p]) return 'running';
  const status = run.status[p];
  if (status < 0) return '';
  return status & 127 ? `signal ${status & 127}` : String(status >> 8);
}

function pin(p, {showLane = false} = {}) {
  state.pinned = p;
  tables.processes.mark(p, {reveal: true});
  if (p !== null && showLane) reveal(p);
  showDetails();
  redraw();
}

// Brings its lane into sight.
function reveal(p) {
  const {run, view} = state;
  if (run.end[p] < view.from || run.begin[p] > view.to) {
    const middle = (run.begin[p] + run.end[p]) / 2;
    const span = Math.max(view.span, (run.end[p] - run.begin[p]) * 1.2);
    view.show(middle - span / 2, middle + span / 2);
  }
  lanes.unfold(p);
  lanes.arrange();
  const box = $('lanes');
  $('lane-space').style.height = `${Math.max(0, lanes.length * ROW - box.clientHeight)}px`;
  const top = lanes.rowOf(p) * ROW;
  if (top < box.scrollTop || top + ROW > box.scrollTop + box.clientHeight) box.scrollTop = top - box.clientHeight / 2;
}

function showDetails() {
  const {run, pinned: p} = state;
  const place = $('details');
  place.hidden = p === null;
  if (p === null) return;
  const rows = [];
  const row = (name, value, kind = '') => {
    rows.push(element('dt', {textContent: name}), element('dd', {className: kind}, value));
  };
  const source = run.sourceOf(p);
  row('Peak', source === 'unknown' ? 'unknown: its memory was never seen' : `${formatKib(run.peak[p])}`);
  if (source !== 'unknown') {
    const bound = source === 'exact' ? '' : ', a lower bound';
    row('known as', `${source}${bound}`);
    row('at', formatExact(run.peak_time[p]));
  }
  row('Started', `${formatExact(run.begin[p])}${run.start_known[p] ? '' : ' (first seen)'}`);
  row('Ended', run.running[p] ? 'was still running' : `${formatExact(run.end[p])}${run.end_known[p] ? '' : ' (last seen)'}`);
  row('Lived', formatDuration(run.end[p] - run.begin[p]));
  row('Exit', exitText(run, p) || 'unknown');
  row('CPU', run.user[p] < 0 ? 'unknown' : `${formatDuration(run.user[p])} user, ${formatDuration(run.system[p])} system`);
  row('Storage', run.read[p] < 0 ? 'unknown' : `${formatSize(run.read[p])} read, ${formatSize(run.written[p])} written`);
  row('Parent', parentOf(run, p));
  row('Seen by', {events: 'kernel events', record: 'its exit record', hook: 'the exit hook', sampling: 'sampling'}[run.found_by[run.found[p]]]);
  const images = [];
  for (let i = run.imageFrom[p]; i < run.imageFrom[p + 1]; i++) images.push(image(run, i));
  const close = element('button', {textContent: '×', 'aria-label': 'Let go of the process', className: 'close'});
  close.addEventListener('click', () => pin(null));
  const zoom = element('button', {textContent: 'Zoom to its life'});
  zoom.addEventListener('click', () => {
    const margin = Math.max((run.end[p] - run.begin[p]) * 0.1, 50);
    state.view.show(run.begin[p] - margin, run.end[p] + margin);
    reveal(p);
    redraw();
  });
  place.replaceChildren(
    element('h2', {}, swatch(colours.groups[run.colourOf(p)]), run.nameOf(p), element('small', {textContent: `pid ${run.pid[p]}`}), close),
    element('pre', {textContent: run.lineOf(p) ?? 'command line unknown'}),
    zoom,
    element('dl', {}, ...rows),
    element('h3', {textContent: images.length > 1 ? 'Programs it ran' : 'Program'}),
    element('ol', {}, ...images),
  );
}

function parentOf(run, p) {
  const parent = run.parent[p];
  if (parent < 0) return `pid ${run.ppid[p]}, not of the job`;
  const button = element('button', {textContent: `${run.nameOf(parent)}, pid ${run.pid[parent]}`, className: 'link'});
  button.addEventListener('click', () => pin(parent, {showLane: true}));
  return button;
}

function image(run, i) {
  const source = run.peak_sources[run.image_source[i]];
  const size = source === 'unknown' ? 'peak unknown' : `${formatSize(run.image_peak[i])} ${source}`;
  const line = run.image_line[i] < 0 ? '' : run.words[run.image_line[i]];
  const exe = run.image_exe[i] < 0 ? '' : run.words[run.image_exe[i]];
  return element('li', {},
    element('b', {textContent: run.words[run.image_name[i]]}),
    element('span', {textContent: ` at ${formatExact(run.image_since[i])}${run.image_forked[i] ? ', forked' : ''}: ${size}`}),
    element('code', {textContent: line}), element('code', {textContent: exe, className: 'exe'}));
}

function focusGroup(g) {
  state.focus = g;
  if (state.order === 'command') lanes.closed.delete(~g);
  tables.groups.mark(g, {reveal: true});
  $('lanes').scrollTop = 0;
  showFocus();
  showRows();
  redraw();
}

function showFocus() {
  const {run, focus} = state;
  $('focus').hidden = focus === null;
  if (focus !== null) $('focus').textContent = `${run.groups[focus][0]} only ×`;
}

function showRows() {
  const {run, matches, focus} = state;
  const rows = [];
  for (let p = 0; p < run.count; p++) {
    if ((!matches || matches[p]) && (focus === null || run.group[p] === focus)) rows.push(p);
  }
  tables.processes.show(rows);
  const pattern = searched();
  tables.groups.show([...run.groups.keys()].filter(g => !pattern || pattern.test(run.groups[g][0])));
  $('tab-processes').textContent = `Processes (${formatNumber(rows.length)})`;
  $('tab-groups').textContent = `Groups (${formatNumber(tables.groups.rows.length)})`;
}

// The search's pattern: null for none. Throws for one that is no regular expression.
function searched() {
  const text = $('search').value;
  return text ? new RegExp(text, 'i') : null;
}

function search() {
  const {run} = state;
  let pattern;
  try {
    pattern = searched();
  } catch (error) {
    $('search-error').textContent = `not a regular expression: ${error.message.split(': ').pop()}`;
    $('search').setAttribute('aria-invalid', 'true');
    return;
  }
  $('search-error').textContent = '';
  $('search').removeAttribute('aria-invalid');
  state.matches = null;
  if (pattern) {
    lanes.closed.clear();
    // The same text need not be searched twice.
    const found = run.words.map(word => pattern.test(word));
    state.matches = Uint8Array.from(run.name, (word, p) => {
      const line = run.image_line[run.imageFrom[p + 1] - 1];
      return found[word] || (line >= 0 && found[line]);
    });
  }
  $('lanes').scrollTop = 0;
  showRows();
  redraw();
}

// ---- The pointer ----

function timeAt(event) {
  const left = $('lanes').getBoundingClientRect().left + GUTTER;
  return state.view.from + (event.clientX - left) / timeWidth() * state.view.span;
}

function onWheel(event) {
  const overLanes = event.currentTarget === $('lanes');
  const unit = event.deltaMode === 1 ? 30 : 1;
  const [dx, dy] = [event.deltaX * unit, event.deltaY * unit];
  if (overLanes && !event.ctrlKey && !event.metaKey && !event.shiftKey && Math.abs(dy) >= Math.abs(dx)) return;
  event.preventDefault();
  if (event.shiftKey || Math.abs(dx) > Math.abs(dy)) {
    move(() => state.view.pan((dx || dy) / timeWidth() * state.view.span));
  } else {
    const time = timeAt(event);
    move(() => state.view.zoom(1.0018 ** (event.ctrlKey ? dy * 3 : dy), time));
  }
}

let drag = null;

function onDown(event) {
  // Not the scroll bar, and not the names.
  if (event.button || event.clientX > $('lanes').getBoundingClientRect().left + $('lanes').clientWidth) return;
  drag = {x: event.clientX, y: event.clientY, from: state.view.from, to: state.view.to, scroll: $('lanes').scrollTop, lanes: event.currentTarget === $('lanes'), moved: false};
}

function onMove(event) {
  if (!drag || !(event.buttons & 1)) {
    drag = null;
    hover(event);
    return;
  }
  const [dx, dy] = [event.clientX - drag.x, event.clientY - drag.y];
  if (!drag.moved && Math.hypot(dx, dy) < 4) return;
  if (!drag.moved) event.currentTarget.setPointerCapture(event.pointerId);
  drag.moved = true;
  document.body.classList.add('dragging');
  const by = -dx / timeWidth() * (drag.to - drag.from);
  state.view.show(drag.from + by, drag.to + by);
  if (drag.lanes) $('lanes').scrollTop = drag.scroll - dy;
  hideTip();
  redraw();
}

function onUp(event) {
  document.body.classList.remove('dragging');
  if (drag && !drag.moved && drag.lanes) clickLane(event);
  drag = null;
}

function rowAt(event) {
  const box = $('lanes');
  const row = Math.floor((event.clientY - box.getBoundingClientRect().top + box.scrollTop) / ROW);
  return row >= 0 && row < lanes.length ? lanes.rows[row] : null;
}

function clickLane(event) {
  const row = rowAt(event);
  if (row === null) return;
  const x = event.clientX - $('lanes').getBoundingClientRect().left;
  const onFold = row >= 0 && state.order === 'parent' && lanes.hasChildren(row) && x < 4 + lanes.indent(row) + 12;
  if (onFold || (row < 0 && x < 24)) {
    lanes.fold(row);
    redraw();
  } else if (row < 0) {
    const g = ~row;
    if (g < state.run.groups.length) focusGroup(g === state.focus ? null : g);
  } else {
    pin(row === state.pinned ? null : row);
  }
}

function hover(event) {
  const {run, view} = state;
  const time = timeAt(event);
  const overLanes = event.currentTarget === $('lanes');
  const row = overLanes ? rowAt(event) : null;
  const p = row !== null && row >= 0 ? row : null;
  state.hovered = p;
  const inTime = time >= view.from && time <= view.to;
  const column = {from: time, to: time + view.span / timeWidth()};
  const now = inTime ? (p === null ? tickIn(run, column) : highestIn(run, p, column)) : null;
  state.cursor = inTime ? now : null;
  showTip(event, p, now);
  redraw();
}

// Of the ticks in a column of pixels the one with the highest total, as it is drawn; else the pointer's time.
function tickIn(run, {from, to}) {
  const {tickTime} = run;
  let best = null;
  for (let k = since(tickTime, from); k < tickTime.length && tickTime[k] < to; k++) {
    if (best === null || chart.shown[k] > chart.shown[best]) best = k;
  }
  return best === null ? from : tickTime[best];
}

// The same of a process's samples.
function highestIn(run, p, {from, to}) {
  const stop = run.sampleFrom[p + 1];
  let best = null;
  for (let k = since(run.sampleTime, from, run.sampleFrom[p], stop); k < stop && run.sampleTime[k] < to; k++) {
    if (best === null || run.sample_rss[k] > run.sample_rss[best]) best = k;
  }
  return best === null ? from : run.sampleTime[best];
}

function showTip(event, p, time) {
  const {run} = state;
  if (time === null && p === null) { hideTip(); return; }
  const rows = [];
  const row = (name, value, colour) => {
    rows.push(element('dt', {}, ...(colour ? [swatch(colour)] : []), name), element('dd', {textContent: value}));
  };
  if (time !== null) row('Time', formatExact(Math.round(time)));
  const tick = time === null ? -1 : run.tickAt(time);
  if (p !== null) {
    const rss = time === null ? null : run.rssAt(p, time);
    if (time !== null) row('RSS', rss !== null ? formatKib(rss) : run.isAlive(p, time) ? 'not sampled' : 'not running');
    const source = run.sourceOf(p);
    row('Peak', source === 'unknown' ? 'unknown' : `${formatSize(run.peak[p])}, ${source}`);
    row('Lived', formatDuration(run.end[p] - run.begin[p]));
  }
  if (tick >= 0) {
    row(state.runs.length > 1 ? `Total, ${run.label.split('/').pop()}` : 'Total', formatKib(run.total[tick]));
    if (p === null) {
      row('Alive', formatNumber(run.alive[tick]));
      const held = run.stack.map((sums, g) => [sums[tick], g]).filter(([size, g]) => size > 0 && !state.hidden.has(g));
      held.sort((a, b) => b[0] - a[0]);
      for (const [size, g] of held.slice(0, 8)) {
        const group = g < Math.min(COLOURS, run.groups.length) ? run.groups[g] : null;
        row(group ? group[0] : 'other', formatSize(size), colours.groups[group ? g : COLOURS]);
      }
    }
  }
  if (p === null && time !== null) {
    for (const other of state.runs) {
      const then = other === run ? -1 : other.tickAt(time);
      if (then >= 0) row(`Total, ${other.label.split('/').pop()}`, formatKib(other.total[then]), colours.runs[state.runs.indexOf(other) % colours.runs.length]);
    }
  }
  const tip = $('tip');
  const head = p === null ? [] : [element('b', {textContent: `${run.nameOf(p)}  ·  pid ${run.pid[p]}`}), element('code', {textContent: (run.lineOf(p) ?? '').slice(0, 200)})];
  tip.replaceChildren(...head, element('dl', {}, ...rows));
  tip.hidden = !rows.length;
  const {width, height} = tip.getBoundingClientRect();
  const x = event.clientX + 16 + width > innerWidth ? event.clientX - 14 - width : event.clientX + 16;
  const y = Math.min(event.clientY + 14, innerHeight - height - 8);
  tip.style.left = `${Math.max(4, x)}px`;
  tip.style.top = `${Math.max(4, y)}px`;
}

function hideTip() { $('tip').hidden = true; }

function onLeave() {
  state.hovered = null;
  state.cursor = null;
  hideTip();
  redraw();
}

// ---- Keys ----

function onKey(event) {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const isTyping = event.target.matches('input[type=search]');
  if (event.key === 'Escape') { letGo(isTyping); return; }
  if (isTyping) return;
  const {view} = state;
  const middle = state.cursor ?? (view.from + view.to) / 2;
  const actions = {
    ArrowLeft: () => move(() => view.pan(-view.span / 8)),
    ArrowRight: () => move(() => view.pan(view.span / 8)),
    ArrowUp: () => step(-1),
    ArrowDown: () => step(1),
    '+': () => move(() => view.zoom(1 / 1.5, middle)),
    '=': () => move(() => view.zoom(1 / 1.5, middle)),
    '-': () => move(() => view.zoom(1.5, middle)),
    '0': () => move(() => view.reset()),
    Home: () => move(() => view.reset()),
    '/': () => $('search').select(),
    '?': () => toggleHelp(),
  };
  const action = actions[event.key];
  if (!action) return;
  event.preventDefault();
  action();
}

// One thing at a time.
function letGo(isTyping) {
  if (!$('help').hidden) toggleHelp();
  else if (isTyping && $('search').value) {
    $('search').value = '';
    search();
  } else if (isTyping) $('search').blur();
  else if (state.pinned !== null) pin(null);
  else if (state.focus !== null) focusGroup(null);
  else if ($('search').value) {
    $('search').value = '';
    search();
  }
}

function step(by) {
  let row = state.pinned === null ? Math.floor($('lanes').scrollTop / ROW) - (by > 0) : lanes.rowOf(state.pinned);
  do row += by; while (row >= 0 && row < lanes.length && lanes.rows[row] < 0);
  if (row >= 0 && row < lanes.length) pin(lanes.rows[row], {showLane: true});
}

function toggleHelp() {
  $('help').hidden = !$('help').hidden;
  $('help-button').setAttribute('aria-expanded', String(!$('help').hidden));
}

// ---- Beginning ----

function press(button, isPressed) {
  button.setAttribute(button.role === 'tab' ? 'aria-selected' : 'aria-pressed', String(isPressed));
}

function choice(one, other, set) {
  const choose = (button, rest) => {
    press(button, true);
    press(rest, false);
    set(button === one);
  };
  one.addEventListener('click', () => choose(one, other));
  other.addEventListener('click', () => choose(other, one));
}

function listen() {
  for (const place of [$('chart'), $('lanes')]) {
    place.addEventListener('wheel', onWheel, {passive: false});
    place.addEventListener('pointerdown', onDown);
    place.addEventListener('pointermove', onMove);
    place.addEventListener('pointerup', onUp);
    place.addEventListener('pointercancel', onUp);
    place.addEventListener('pointerleave', onLeave);
    place.addEventListener('dblclick', () => move(() => state.view.reset()));
  }
  $('lanes').addEventListener('scroll', () => { hideTip(); redraw(); });
  document.addEventListener('keydown', onKey);
  choice($('by-parent'), $('by-command'), first => {
    state.order = first ? 'parent' : 'command';
    lanes.choose();
    $('lanes').scrollTop = 0;
    redraw();
  });
  $('fold').addEventListener('click', () => { lanes.foldAll(); $('lanes').scrollTop = 0; redraw(); });
  choice($('one-scale'), $('own-scale'), first => { state.oneScale = first; redraw(); });
  choice($('tab-processes'), $('tab-groups'), first => showTab(first));
  $('in-view').addEventListener('change', () => { state.inView = $('in-view').checked; redraw(); });
  $('focus').addEventListener('click', () => focusGroup(null));
  $('search').addEventListener('input', search);
  $('reset').addEventListener('click', () => move(() => state.view.reset()));
  $('help-button').addEventListener('click', toggleHelp);
  $('theme').addEventListener('click', () => {
    theme = ownTheme() === 'dark' ? 'light' : 'dark';
    setTheme(theme);
    repaint();
  });
  system.addEventListener('change', () => { setTheme(ownTheme()); repaint(); });
  new ResizeObserver(() => {
    redraw();
    tables.processes.draw();
    tables.groups.draw();
  }).observe($('app'));
  // On paper it is light, whatever it is on the screen.
  addEventListener('beforeprint', () => { setTheme('light'); repaint(); });
  addEventListener('afterprint', () => { setTheme(ownTheme()); repaint(); });
}

function showTab(processes) {
  $('process-table').hidden = !processes;
  $('group-table').hidden = processes;
  tables[processes ? 'processes' : 'groups'].draw();
}

async function begin() {
  const packed = [...document.querySelectorAll('script.data')];
  state.runs = await Promise.all(packed.map(each => unpack(each.textContent)));
  packed.forEach(each => each.remove());
  state.view = new View(Math.min(...state.runs.map(run => run.from)), Math.max(...state.runs.map(run => run.to)));
  document.body.classList.add('live');
  $('app').hidden = false;
  setTheme(ownTheme());
  listen();
  chooseRun(state.runs[0]);
  painted = performance.now();
}

// For tests, and to look at in the console: what is shown. Nothing can be changed through it.
window.memwatch = Object.freeze({
  ready: begin().catch(error => {
    $('failed').hidden = false;
    $('app').hidden = true;
    document.body.classList.remove('live');
    throw error;
  }),
  get from() { return state.view.from; },
  get to() { return state.view.to; },
  get cursor() { return state.cursor; },
  get pinned() { return state.pinned === null ? null : state.run.pid[state.pinned]; },
  // Milliseconds: of the last drawing, and from the start of the page to the first.
  get drawTime() { return drawTime; },
  get painted() { return painted; },
  get lanes() { return lanes.length; },
  // Where on the screen a time is, and the lane of a process: null when it has none now.
  x: time => $('lanes').getBoundingClientRect().left + GUTTER + (time - state.view.from) / state.view.span * timeWidth(),
  y: pid => {
    const row = lanes.rowOf(state.run.pid.indexOf(pid));
    if (row >= lanes.length || state.run.pid[lanes.rows[row]] !== pid) return null;
    return $('lanes').getBoundingClientRect().top + (row + 0.5) * ROW - $('lanes').scrollTop;
  },
});
