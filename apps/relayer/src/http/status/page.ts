/**
 * The status page. It is whole without a script, and loads nothing from elsewhere: its Content-Security-Policy says so. Nothing in it
 * changes while nothing has changed, so that who has it is answered 304.
 */

import type { Status } from '@dvt-relayer/api/schemas.ts'
import { type Html, html } from './html.ts'
import { clustersSection, validatorsSection } from './nodes.ts'
import {
  chainSections,
  headline,
  machineSections,
  managerSection,
  type Services,
  servicesSection,
  vaultsSection,
} from './sections.ts'
import { sign, time } from './words.ts'

export const STATUS_CSP =
  "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; img-src 'self' data:; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"

/** For who has no script; with one the page is renewed in place. */
const RELOAD = html`<noscript><meta http-equiv="refresh" content="60"></noscript>`

/** A document around a page's content; `base` leads from the page's folder to the folder of the assets. */
export function document(title: string, base: string, content: Html, head: Html | null = null): Html {
  return html`<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><meta name="viewport" content="width=device-width,initial-scale=1"><meta name="color-scheme" content="light dark">
<title>${title}</title><link rel="icon" href="data:,"><link rel="stylesheet" href="${base}style.css"><script type="module" src="${base}live.js"></script>${head}</head>
<body>
${content}
</body>
</html>
`
}

/** The page of a status. */
export function statusPage(status: Status): string {
  const { caller, network, counted_at_timestamp: countedAt } = status
  const level = status.headline.level
  const content = html`<a class="skip" href="#clusters">Skip to clusters</a>
<header><h1>dvt-relayer <span class="note">${network}</span></h1><p class="note">${caller.name === null ? null : html`for ${caller.name} &middot; `}<a href="status/help">what to do</a><span id="live" role="status"></span></p></header>
<noscript><p class="note">Without a script this page loads itself anew every minute.</p></noscript>
<main id="status" data-level="${level}">
${headline(status)}
${clustersSection(status)}
${validatorsSection(status)}
${vaultsSection(status)}
${managerSection(status)}
<div class="columns">${chainSections(status)}</div>
${machineSections(status)}
<p class="note">${countedAt === null ? 'No worker has counted yet.' : html`Numbers changed last: ${time(countedAt)}.`} All times are by the clock of the database.</p>
</main>`
  return String(
    document(`${status.headline.level === 'good' ? '' : '(!) '}dvt-relayer ${network}`, 'status/', content, RELOAD),
  )
}

/** What is shown while the database is away: which services are. */
export function awayPage(services: Services): string {
  const content = html`<header><h1>dvt-relayer</h1><p class="note"><span id="live" role="status"></span></p></header>
<main id="status" data-level="bad"><div class="headline bad" role="status"><p>${sign('bad')} <a href="status/help#a-service-is-away">The database cannot be read, so nothing is known of nodes and validators.</a></p></div>
${servicesSection(services)}</main>`
  return String(document('(!) dvt-relayer', 'status/', content, RELOAD))
}
