// The state of the page: what is shown and selected, its colours, and when it is drawn.

const $ = id => document.getElementById(id);
const GUTTER = 230;  // names at the left of the lanes, in pixels; viewer.css has the same

// With more processes than this, the page opens with folded groups.
const MANY = 300;

const PAPER = {width: 1030, lanes: 240, chart: 260};  // A4 across, less its margins; viewer.css has the same

const state = {
  runs: [],
  run: null,
  view: null,
  order: 'parent',
  oneScale: true,
  inView: true,
  byKind: false,      // what the chart stacks: kinds of memory, or groups
  hidden: new Set(),  // entries of the legend: groups by number, others by name, such as 'total'
  asked: new Set(),   // entries of the legend that the user chose to show
  matches: null,      // which processes match the search; null for all
  focus: null,        // the selected group
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
const begun = performance.now();
let isPaper = false;

// ---- Colours ----

const system = matchMedia('(prefers-color-scheme: dark)');
let theme = null;  // the user's choice; null for the system's

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
  for (const name of ['ink', 'soft', 'faint', 'grid', 'line', 'ground', 'halo', 'band', 'chosen', 'hover', 'pss', 'least', 'limit']) {
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

// Paper has a higher resolution than a screen.
function pixelRatio() { return isPaper ? 2 : devicePixelRatio || 1; }

// Fits a canvas to its place, in device pixels. Returns its context.
function fit(canvas, width, height) {
  const ratio = pixelRatio();
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

// Returns the room: for the lanes with their names, and the height of the chart.
function room() {
  if (isPaper) return PAPER;
  const box = $('lanes');
  return {width: Math.max(GUTTER + 50, box.clientWidth), lanes: box.clientHeight, chart: $('totals').clientHeight};
}

function timeWidth() { return room().width - GUTTER; }

function draw() {
  isDirty = false;
  const start = performance.now();
  const ratio = pixelRatio();
  const {width, lanes: height, chart: chartHeight} = room();
  const upper = fit($('chart'), width - GUTTER, chartHeight);
  chart.draw(upper, upper.canvas.width, upper.canvas.height, ratio, colours);
  arrangeLanes();
  $('lane-count').textContent = laneCount();
  const lower = fit($('lane-canvas'), width, height);
  lanes.draw(lower, lower.canvas.width, lower.canvas.height, ratio, colours, GUTTER, $('lanes').scrollTop);
  drawCursor(upper, 0, ratio, chart.height);
  drawCursor(lower, GUTTER * ratio, ratio, lower.canvas.height);
  drawTime = performance.now() - start;
}

// Arranges the lanes and adjusts the scroll bar.
function arrangeLanes() {
  lanes.arrange();
  $('lane-space').style.height = `${Math.max(0, lanes.length * ROW - room().lanes)}px`;
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
  const shown = lanes.shown === run.count ? all : `${formatNumber(lanes.shown)} of ${all}`;
  return run.has_samples ? shown : `${shown}; dashed: no samples, only the peak is known`;
}

// Shows another stretch of time. The lane under the pointer, or the first one, stays in place.
function move(change) {
  const box = $('lanes');
  const anchor = anchorRow(box.scrollTop);
  change();
  hideTip();
  if (state.inView && anchor) {
    arrangeLanes();
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
