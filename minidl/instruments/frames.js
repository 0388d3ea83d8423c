// Moves the frames of one widget: reads their lines from the JSON beside it and redraws on every slider event.
(function () {
  document.querySelectorAll('[data-frames="KEY"]:not([data-ready])').forEach(function (root) {
    root.setAttribute('data-ready', '');
    const data = JSON.parse(root.querySelector('script[type="application/json"]').textContent);
    const stage = root.querySelector('.osi-stage');
    const above = root.querySelector('.osi-above');
    const sliders = Array.from(root.querySelectorAll('input'));
    const last = sliders[sliders.length - 1];
    const play = root.querySelector('.osi-play');
    let timer = null, shown = -1;

    function joined(lines) {
      return lines.map(function (line) { return data.parts[line]; }).join('\n');
    }

    function show() {
      let frame = 0;
      sliders.forEach(function (slider, axis) {
        const stop = data.stops[axis][+slider.value];
        frame = frame * data.stops[axis].length + +slider.value;
        slider.setAttribute('aria-valuetext', stop);
        slider.parentNode.querySelector('output').textContent = stop;
      });
      if (frame === shown) return;
      shown = frame;
      stage.innerHTML = joined(data.frames[frame]);
      if (above) above.innerHTML = joined(data.above[frame]);
      stage.setAttribute('aria-label', data.alts[frame]);
    }

    function pause() {
      clearInterval(timer);
      timer = null;
      play.textContent = '▶';
      play.setAttribute('aria-label', 'Play');
    }

    function step() {
      if (+last.value === +last.max) return pause();
      last.value = +last.value + 1;
      show();
    }

    sliders.forEach(function (slider) {
      slider.addEventListener('input', function () {
        if (timer) pause();
        show();
      });
    });
    // A link to one of the headings shows the frames, at its position.
    function follow() {
      const at = data.anchors.indexOf(location.hash.slice(1));
      if (at < 0) return;
      last.value = at;
      show();
      root.scrollIntoView();
    }
    if (data.anchors) {
      window.addEventListener('hashchange', follow);
      window.addEventListener('load', follow);
    }
    if (play) play.addEventListener('click', function () {
      if (timer) return pause();
      if (+last.value === +last.max) { last.value = 0; show(); }
      play.textContent = '❚❚';
      play.setAttribute('aria-label', 'Pause');
      timer = setInterval(step, 700);
    });
  });
})();
