// The start of the page: listeners, and the first drawing.

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
  choice($('stack-groups'), $('stack-kinds'), first => {
    state.byKind = !first;
    chart.choose();
    showLegend();
    redraw();
  });
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
  // Paper is always light.
  addEventListener('beforeprint', () => { onPaper(true); });
  addEventListener('afterprint', () => { onPaper(false); });
}

function onPaper(is) {
  isPaper = is;
  onLeave();
  setTheme(is ? 'light' : ownTheme());
  repaint();
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
  // The frame after the one that shows the page.
  requestAnimationFrame(() => requestAnimationFrame(() => { painted = performance.now(); }));
}

// What is shown, for tests and for the console. Read-only.
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
  // Milliseconds: of the last drawing; from the start of the page until the scripts began, and until
  // the first drawing was visible (null before).
  get drawTime() { return drawTime; },
  begun,
  get painted() { return painted; },
  get lanes() { return lanes.length; },
  // Where on the screen a time is, and the lane of a process; null when the lane is not shown.
  x: time => $('lanes').getBoundingClientRect().left + GUTTER + (time - state.view.from) / state.view.span * timeWidth(),
  y: pid => {
    const row = lanes.rowOf(state.run.pid.indexOf(pid));
    if (row >= lanes.length || state.run.pid[lanes.rows[row]] !== pid) return null;
    return $('lanes').getBoundingClientRect().top + (row + 0.5) * ROW - $('lanes').scrollTop;
  },
});
