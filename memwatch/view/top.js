// The top of the page and the legend of the chart.

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
    notes.unshift('This file has no samples of single processes: each is drawn dashed, at its peak, for its whole life.');
  }
  if (!run.tick.length) notes.unshift('This file has no totals over time: only the highest total is known.');
  $('notes').replaceChildren(...notes.map(note => element('li', {textContent: note})));
  $('known').firstElementChild.textContent = `How these numbers are known: ${notes[0] ?? ''}`;
  $('warning').hidden = !run.warning;
  $('warning').textContent = run.warning;
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

// Returns what the chart stacks, from the bottom: the kinds of memory, or the largest groups and the
// rest. Of each: `key` for the legend, `name`, `colour` by its number, `sums` at each tick, `most` (null
// when that is not known), `hint`.
function layersOf(run) {
  if (state.byKind && run.kinds.length) return run.kinds;
  const shown = Math.min(COLOURS, run.groups.length);
  return run.stack.map((sums, i) => (i < shown
    ? {key: i, name: run.groups[i][0], colour: i, sums, most: run.groups[i][2], hint: ''}
    : {key: i, name: 'other', colour: COLOURS, sums, most: null, hint: ''}));
}

function showLegend() {
  const {run, hidden} = state;
  const entries = [];
  if (run.total.length) entries.push(['total', 'Total', colours.ink, 'stroke', run.max_total]);
  if (run.least.some(size => size >= 0)) {
    const most = highest(run.least);
    entries.push(['least', 'Footprint, at least', colours.least, 'stroke', most, 'Memory that the kernel cannot simply drop, each page once']);
  }
  if (run.pss_total.length) entries.push(['pss', 'PSS (shared pages once)', colours.pss, 'point', null]);
  if (run.limit !== null) entries.push(['limit', 'Memory limit', colours.limit, 'dash', run.limit]);
  for (const {key, name, colour, most, hint} of layersOf(run)) {
    entries.push([key, name, colours.groups[colour], '', most, hint]);
  }
  $('stack-by').hidden = !run.kinds.length;
  $('legend').replaceChildren(...entries.map(([key, text, colour, kind, size, hint]) => {
    const isShown = key === 'limit' ? chart.showsLimit() : !hidden.has(key);
    const button = element('button', {'aria-pressed': String(isShown)},
      swatch(colour, kind), element('span', {textContent: text}),
      element('small', {textContent: size === null ? '' : formatSize(size)}));
    if (hint) button.title = hint;
    if (key === 'limit' && !isShown && !hidden.has(key)) {
      button.title = 'Far above the peak: click to show it';
      button.querySelector('span').textContent = 'Limit, off the scale';
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
