/**
 * Keeps the status page up to date: asks for it again every few seconds, and changes in place only what is different, so that focus,
 * scroll and what is being typed stay. Nothing is loaded from anywhere else.
 */

const EVERY_MS = 5000
const TIMEOUT_MS = 10_000

const live = document.getElementById('live')
/** By how much the relayer's clock is ahead of this machine's. */
let aheadMs = 0
let shown = ''
let goodAt = Date.now()

/** Words for how long ago something was, or in how long it will be. */
function relative(seconds) {
  const size = Math.abs(seconds)
  const [number, unit] =
    size < 60
      ? [size, 's']
      : size < 3600
        ? [size / 60, 'min']
        : size < 172_800
          ? [size / 3600, 'h']
          : [size / 86_400, 'days']
  const words = `${Math.floor(number)} ${unit}`
  return seconds < 0 ? `in ${words}` : `${words} ago`
}

/** Says beside each moment how long ago it is; the moment itself is its title. */
function tellTimes() {
  for (const element of document.querySelectorAll('time')) {
    const at = Date.parse(element.dateTime)
    const words = relative(Math.round((Date.now() + aheadMs - at) / 1000))
    if (element.textContent !== words) element.textContent = words
    const whole = `${element.dateTime.slice(0, 19).replace('T', ' ')} UTC`
    if (element.title !== whole) element.title = whole
  }
}

const keyOf = (node) => (node.nodeType === Node.ELEMENT_NODE ? node.dataset.key || node.id : '')
const isAlike = (one, other) => one.nodeType === other.nodeType && one.nodeName === other.nodeName

function morphAttributes(from, to) {
  for (const { name } of [...from.attributes])
    if (!to.hasAttribute(name) && !(from.nodeName === 'TIME' && name === 'title')) from.removeAttribute(name)
  for (const { name, value } of to.attributes) if (from.getAttribute(name) !== value) from.setAttribute(name, value)
}

/** Makes a node say what another says, and keeps it. */
function morph(from, to) {
  if (from.nodeType !== Node.ELEMENT_NODE) {
    if (from.nodeValue !== to.nodeValue) from.nodeValue = to.nodeValue
    return
  }
  // What is being typed is the reader's.
  if (from.nodeName === 'INPUT') return
  morphAttributes(from, to)
  // Its words are told anew from its attribute.
  if (from.nodeName !== 'TIME') morphChildren(from, to)
}

function morphChildren(from, to) {
  const wantedKeys = new Set([...to.childNodes].map(keyOf).filter((key) => key !== ''))
  // What is gone goes first, so that what stays need not move: moving takes the focus away.
  for (const node of [...from.childNodes]) if (keyOf(node) !== '' && !wantedKeys.has(keyOf(node))) node.remove()
  const keyed = new Map([...from.childNodes].map((node) => [keyOf(node), node]))
  let cursor = from.firstChild
  for (const wanted of [...to.childNodes]) {
    const key = keyOf(wanted)
    const candidate = key === '' ? cursor : keyed.get(key)
    const isFit = candidate != null && isAlike(candidate, wanted) && keyOf(candidate) === key
    if (!isFit) {
      from.insertBefore(document.importNode(wanted, true), cursor)
      continue
    }
    if (candidate === cursor) cursor = cursor.nextSibling
    else from.insertBefore(candidate, cursor)
    morph(candidate, wanted)
  }
  while (cursor !== null) {
    const next = cursor.nextSibling
    cursor.remove()
    cursor = next
  }
}

/** Asks for the page as it is now. */
async function renew() {
  const url = location.href.split('#')[0]
  const answer = await fetch(url, { cache: 'no-cache', signal: AbortSignal.timeout(TIMEOUT_MS) })
  const date = Date.parse(answer.headers.get('date') ?? '')
  if (!Number.isNaN(date)) aheadMs = date + 500 - Date.now()
  const isPage = (answer.headers.get('content-type') ?? '').startsWith('text/html')
  if (!isPage)
    throw new Error(answer.status === 401 ? 'the token is not taken any more' : `the relayer answers ${answer.status}`)
  const text = await answer.text()
  if (text !== shown) {
    const page = new DOMParser().parseFromString(text, 'text/html')
    const [from, to] = [document.getElementById('status'), page.getElementById('status')]
    if (from !== null && to !== null) morph(from, to)
    document.title = page.title
    shown = text
  }
  goodAt = Date.now()
}

/** Says when what is shown is not of now. */
function tellAge(error) {
  const words =
    error === undefined ? '' : ` · ✕ not renewed for ${Math.round((Date.now() - goodAt) / 1000)} s: ${error.message}`
  if (live.textContent !== words) live.textContent = words
  document.body.classList.toggle('stale', error !== undefined)
}

async function follow() {
  for (;;) {
    if (!document.hidden) {
      try {
        await renew()
        tellAge(undefined)
      } catch (error) {
        tellAge(error)
      }
      tellTimes()
      document.body.dataset.renewed = String(Number(document.body.dataset.renewed ?? 0) + 1)
    }
    await new Promise((resolve) => {
      const timer = setTimeout(resolve, EVERY_MS)
      document.addEventListener('visibilitychange', () => resolve(clearTimeout(timer)), { once: true })
    })
  }
}

tellTimes()
setInterval(tellTimes, 1000)
if (live !== null) follow()
