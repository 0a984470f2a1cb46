// Numbers and dates as people read them. Nothing here touches the page.

const UNITS = ["B", "KiB", "MiB", "GiB", "TiB"];

export function bytes(count) {
  let unit = 0;
  while (count >= 1000 && unit < UNITS.length - 1) {
    count /= 1024;
    unit += 1;
  }
  return `${count.toFixed(unit > 0 && count < 10 ? 1 : 0)} ${UNITS[unit]}`;
}

export function percent(number) {
  return `${number < 10 ? Math.round(number * 10) / 10 : Math.round(number)} %`;
}

export function rate(number) {
  return `${number < 10 ? number : Math.round(number)}/s`;
}

// How long something has been so, in its largest unit.
export function duration(milliseconds) {
  const seconds = Math.max(0, Math.round(milliseconds / 1000));
  if (seconds < 60) return `${seconds} s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min`;
  if (seconds < 86400) return `${Math.floor(seconds / 3600)} h`;
  return `${Math.floor(seconds / 86400)} d`;
}

export function ago(milliseconds) {
  return milliseconds < 5000 ? "just now" : `${duration(milliseconds)} ago`;
}

export function local(date) {
  return new Date(date).toLocaleString();
}

export function count(number, one, many) {
  return `${number} ${number === 1 ? one : many}`;
}
