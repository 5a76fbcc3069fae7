// A click on the words above a column sorts by it, a second one the other way round.
for (const head of document.querySelectorAll('thead th:has(button)')) {
  head.querySelector('button').addEventListener('click', () => {
    const up = head.getAttribute('aria-sort') !== 'ascending';
    for (const other of head.parentNode.cells) other.removeAttribute('aria-sort');
    head.setAttribute('aria-sort', up ? 'ascending' : 'descending');
    const body = head.closest('table').tBodies[0];
    const key = row => row.cells[head.cellIndex].dataset.value;
    const order = (a, b) =>
      a === '' || b === '' ? (a === '') - (b === '')  // what is missing comes last, both ways
      : (up ? 1 : -1) * (isNaN(a) || isNaN(b) ? a.localeCompare(b) : a - b);
    body.append(...[...body.rows].sort((a, b) => order(key(a), key(b))));
  });
}
// A click on a method shows it alone in all plots, a second one all of them again.
for (const button of document.querySelectorAll('.legend button')) {
  button.addEventListener('click', () => {
    const alone = button.getAttribute('aria-pressed') !== 'true';
    for (const other of document.querySelectorAll('.legend button'))
      other.setAttribute('aria-pressed', alone && other === button);
    for (const drawn of document.querySelectorAll('svg g[class^=series]'))
      drawn.classList.toggle('shown', drawn.classList.contains(button.dataset.series));
    document.querySelector('.plots').classList.toggle('alone', alone);
  });
}
