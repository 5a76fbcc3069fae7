// A click on a column heading sorts by it, a second click reverses the order.
for (const heading of document.querySelectorAll('thead th:has(button)')) {
  heading.querySelector('button').addEventListener('click', () => {
    const up = heading.getAttribute('aria-sort') !== 'ascending';
    for (const other of heading.parentNode.cells) other.removeAttribute('aria-sort');
    heading.setAttribute('aria-sort', up ? 'ascending' : 'descending');
    const body = heading.closest('table').tBodies[0];
    const key = row => row.cells[heading.cellIndex].dataset.value;
    const order = (a, b) =>
      a === '' || b === '' ? (a === '') - (b === '')  // missing values last in both orders
      : (up ? 1 : -1) * (isNaN(a) || isNaN(b) ? a.localeCompare(b) : a - b);
    body.append(...[...body.rows].sort((a, b) => order(key(a), key(b))));
  });
}
// A click on a method in the legend hides the others in all plots, a second click shows them again.
for (const button of document.querySelectorAll('.legend button')) {
  button.addEventListener('click', () => {
    const alone = button.getAttribute('aria-pressed') !== 'true';
    for (const other of document.querySelectorAll('.legend button'))
      other.setAttribute('aria-pressed', alone && other === button);
    for (const group of document.querySelectorAll('svg g[class^=series]'))
      group.classList.toggle('shown', group.classList.contains(button.dataset.series));
    document.querySelector('.plots').classList.toggle('alone', alone);
  });
}
