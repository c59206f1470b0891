/** Small pieces of the status page: times, keys, links, and cells that say by a sign and a word what their colour says. */

import type { Problem, StatusNode } from '@dvt-relayer/api/schemas.ts'
import { type Html, html } from './html.ts'

type Level = Problem['level'] | 'none'

/** A colour is never the only sign. */
const SIGNS: Readonly<Record<Level, string>> = { bad: '✕', waiting: '…', good: '✓', none: '–' }

/** The sign of a level. What it means is said beside it. */
export const sign = (level: Level): Html => html`<span class="sign" aria-hidden="true">${SIGNS[level]}</span>`

/** A moment. The page's script says beside it how long ago that is. */
export function time(seconds: number | null): Html | null {
  if (seconds === null) return null
  const date = new Date(seconds * 1000)
  if (Number.isNaN(date.getTime())) return html`in ${seconds} Unix seconds`
  const iso = date.toISOString()
  return html`<time datetime="${iso}">${iso.slice(0, 19).replace('T', ' ')} UTC</time>`
}

/** Which way a node came. */
export const CAME_BY: Readonly<Record<NonNullable<StatusNode['came_by']>, string>> = {
  token: 'its token',
  node_key: "charon's key",
  operator_key: "its SSV operator's key",
  charon: 'charon, without a sidecar',
}

/** A long hex value, short to read and whole to copy. */
export const hex = (value: string): Html =>
  html`<code title="${value}">${value.length > 24 ? `${value.slice(0, 10)}…${value.slice(-6)}` : value}</code>`

/** Where it says what to do; the page knows the runbook by heart. */
export const help = (anchor: string | null, words: string | Html): Html =>
  anchor === null ? html`${words}` : html`<a href="status/help#${anchor}">${words}</a>`

/** Gwei as a person reads it. */
export function eth(gwei: string): string {
  const [whole, fraction] = [gwei.slice(0, -9) || '0', gwei.padStart(9, '0').slice(-9).replace(/0+$/, '')]
  return fraction === '' ? whole : `${whole}.${fraction}`
}

/** "1 key", "2 keys" */
export const many = (number: number, noun: string): string => `${number} ${noun}${number === 1 ? '' : 's'}`
