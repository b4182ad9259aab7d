// The actions of the mouse and the keys.

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
  // The scroll bar is not for dragging.
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
  const g = row !== null && row < 0 && ~row < run.groups.length ? ~row : null;
  state.hovered = p;
  const inTime = time >= view.from && time <= view.to;
  const column = {from: time, to: time + view.span / timeWidth()};
  const now = inTime ? (p === null ? tickIn(run, column) : highestIn(run, p, column)) : null;
  state.cursor = inTime ? now : null;
  showTip(event, p, g, now);
  redraw();
}

// Returns the time of the tick that is drawn in a column of pixels: the one with the highest total; the pointer's time if there is none.
function tickIn(run, {from, to}) {
  const {tickTime} = run;
  let best = null;
  for (let k = since(tickTime, from); k < tickTime.length && tickTime[k] < to; k++) {
    if (best === null || chart.shown[k] > chart.shown[best]) best = k;
  }
  return best === null ? from : tickTime[best];
}

// Does the same for a process's samples.
function highestIn(run, p, {from, to}) {
  const stop = run.sampleFrom[p + 1];
  let best = null;
  for (let k = since(run.sampleTime, from, run.sampleFrom[p], stop); k < stop && run.sampleTime[k] < to; k++) {
    if (best === null || run.sample_rss[k] > run.sample_rss[best]) best = k;
  }
  return best === null ? from : run.sampleTime[best];
}

function showTip(event, p, g, time) {
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
    if (rss !== null) for (const [name, size] of partRows(run, p, time)) row(name, formatSize(size));
    const source = run.sourceOf(p);
    row('Peak', source === 'unknown' ? 'unknown' : `${formatSize(run.peak[p])}, ${source}`);
    row('Lived', formatDuration(run.end[p] - run.begin[p]));
  }
  if (tick >= 0) {
    row(state.runs.length > 1 ? `Total, ${run.label.split('/').pop()}` : 'Total', formatKib(run.total[tick]));
    if (p === null && run.least[tick] >= 0) row('Footprint, at least', formatSize(run.least[tick]));
    if (p === null) row('Alive', formatNumber(run.alive[tick]));
    if (g !== null && run.has_samples) row(run.groups[g][0], formatKib(Math.max(0, run.heldBy(g)[tick] ?? 0)), colours.groups[Math.min(g, COLOURS)]);
    else if (p === null) {
      const held = chart.layers.filter(({key, sums}) => sums[tick] > 0 && !state.hidden.has(key));
      held.sort((a, b) => (a.colour === COLOURS) - (b.colour === COLOURS) || b.sums[tick] - a.sums[tick]);
      for (const {name, sums, colour} of held) row(name, formatSize(sums[tick]), colours.groups[colour]);
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

// Returns the parts of what a process held at a time, with their names.
function partRows(run, p, time) {
  const parts = run.partsAt(p, time);
  if (!parts) return [];
  const {anonymous, shared, shmem, file, swapped, huge} = parts;
  if (shmem === undefined) return [['· anonymous', anonymous], ['· files and shared memory', shared]];
  const rows = [['· anonymous', anonymous], ['· files', file], ['· shared memory', shmem]];
  if (swapped) rows.push(['Swapped out', swapped]);
  if (huge) rows.push(['Huge pages', huge]);
  return rows;
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
  if (event.key === 'Escape') { clearSelection(isTyping); return; }
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

// Clears one thing at a time.
function clearSelection(isTyping) {
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
