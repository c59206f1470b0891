/** Of the status page: what is wrong, and everything but nodes: oracles, vaults, the manager, the queue, services, versions. */

import type { Problem, Status, StatusVault } from '@dvt-relayer/api/schemas.ts'
import { ANCHORS, isLate } from '../../services/status/problems.ts'
import { type Html, html } from './html.ts'
import { eth, help, hex, many, sign, time } from './words.ts'

/** The one sentence on top, which is the worst, and everything else. */
export function headline({ headline: first, problems }: Status): Html {
  return html`<div class="headline ${first.level}" role="status"><p>${sign(first.level)} ${help(first.anchor, first.sentence)}</p>
${problems.length < 2 ? null : html`<ul class="problems">${problems.slice(1).map(problemLine)}</ul>`}</div>`
}

const problemLine = ({ level, sentence, anchor }: Problem): Html =>
  html`<li class="${level}">${sign(level)} ${help(anchor, sentence)}</li>`

/** A section of names and values. */
const facts = (id: string, title: string, pairs: readonly (readonly [string, Html | string | null])[]): Html =>
  html`<section id="${id}" aria-labelledby="${id}-title"><h2 id="${id}-title">${title}</h2><dl class="facts">${pairs.map(
    ([name, value]) => (value === null ? null : html`<div><dt>${name}</dt><dd>${value}</dd></div>`),
  )}</dl></section>`

/** The oracle set in force, and the deposit registry. */
export function chainSections({ oracle_set: set, registry }: Status): Html {
  return html`${facts(
    'oracles',
    'Oracle set',
    set === null
      ? [['in force', html`<span class="bad">${sign('bad')} none is known yet</span>`]]
      : [
          ['in force', hex(set.cid)],
          ['oracles', `${set.threshold} of ${set.oracles}`],
          ['announced', html`${time(set.announced_at_timestamp)}, block ${set.block_number}`],
        ],
  )}
${facts(
  'registry',
  'Deposit registry',
  registry === null
    ? [['followed', 'not begun: no request has needed it']]
    : [
        ['settled up to', `block ${registry.next_block - 1}, ${many(registry.next_deposit_index, 'deposit')}`],
        ['keys', String(registry.public_keys)],
      ],
)}`
}

const ROTATIONS = { prepared: 'new shares wait for approvals', approved: 'approved, to be sent', sent: 'sent' } as const

/** Vaults: their validators, how long shares of earlier oracles are good, and keys that are left. */
export function vaultsSection({ vaults, time: now }: Status): Html {
  if (vaults.length === 0)
    return html`<section id="vaults" aria-labelledby="vaults-title"><h2 id="vaults-title">Vaults</h2><p class="empty">No vault is known that you may see.</p></section>`
  return html`<section id="vaults" aria-labelledby="vaults-title"><h2 id="vaults-title">Vaults</h2>
<div class="cards">${vaults.map((vault) => vaultCard(vault, now))}</div></section>`
}

function vaultCard(vault: StatusVault, now: number): Html {
  const { registered, exited, outdated, wrong_index: wrong, force_exit_at_timestamp: forceAt, rotation } = vault
  const { keys_free: free, keys_reserved: reserved } = vault
  const isDue = forceAt !== null && forceAt <= now
  const pairs: [string, Html | string | null][] = [
    ['registered', exited === 0 ? String(registered) : `${registered}, of which ${exited} left`],
    [
      'shares of earlier oracles',
      outdated === 0
        ? null
        : html`<span class="bad">${sign('bad')} ${help('shares-are-outdated', String(outdated))}</span>`,
    ],
    [isDue ? 'may be exited by force since' : 'may be exited by force from', time(forceAt)],
    [
      'made for a wrong index',
      wrong === 0 ? null : html`<span class="bad">${sign('bad')} ${help('shares-are-outdated', String(wrong))}</span>`,
    ],
    ['renewal', rotation === null ? null : html`${ROTATIONS[rotation.state]}, begun ${time(rotation.since_timestamp)}`],
    ['renewal good until', time(rotation?.deadline ?? null)],
    ['free keys', free === null ? null : free > 0 ? String(free) : help(ANCHORS.keys, '0')],
    ['reserved keys', reserved === null ? null : String(reserved)],
  ]
  return html`<div class="card" data-key="${vault.vault}"><h3>${hex(vault.vault)}</h3><dl class="facts">${pairs.map(
    ([name, value]) => (value === null ? null : html`<div><dt>${name}</dt><dd>${value}</dd></div>`),
  )}</dl></div>
`
}

/** What the validators-manager key signed within a day, and what it may still move. */
export function managerSection({ manager }: Status): Html | null {
  if (manager === null) return null
  const { address, limit_gwei: limit, vaults } = manager
  return html`<section id="manager" aria-labelledby="manager-title"><h2 id="manager-title">Validators manager, last 24 hours</h2>
<p class="note">${address === null ? 'no key at this process' : html`wallet ${hex(address)}`} &middot; ${limit === null ? 'no daily limit is set' : `a vault may have ${eth(limit)} ETH moved a day`}</p>
${vaults.length === 0 ? html`<p class="empty">Nothing was signed.</p>` : null}
<div class="cards">${vaults.map(
    ({
      vault,
      signatures,
      moved_gwei: moved,
      left_gwei: left,
      last_at_timestamp: last,
    }) => html`<div class="card" data-key="${vault}"><h3>${hex(vault)}</h3><dl class="facts">
<div><dt>signed</dt><dd>${Object.entries(signatures)
      .map(([action, number]) => `${number} ${action}`)
      .join(', ')}</dd></div>
<div><dt>moved</dt><dd>${eth(moved)} ETH</dd></div>
${left === null ? null : html`<div><dt>left</dt><dd class="${left === '0' ? 'bad' : ''}">${left === '0' ? sign('bad') : null} ${help(left === '0' ? ANCHORS.limit : null, `${eth(left)} ETH`)}</dd></div>`}
<div><dt>last</dt><dd>${time(last)}</dd></div></dl></div>
`,
  )}</div></section>`
}

/** Processes that have ended are shown for an hour: longer ago they explain nothing. */
const ENDED_SECONDS = 3600

/** Processes, queue and services. */
export function machineSections(status: Status): Html {
  const { processes, queue, totals, version, network, time: now } = status
  const shown = processes.filter(({ there, heard_at_timestamp: heard }) => there || now - heard < ENDED_SECONDS)
  return html`${servicesSection(status)}
<section id="processes" aria-labelledby="processes-title"><h2 id="processes-title">Processes and queue</h2><ul class="cells">${shown.map(
    (process) => {
      const { role, version: of, started_at_timestamp: started, heard_at_timestamp: heard, there } = process
      const late = isLate(process, now)
      const level = late ? 'waiting' : there ? 'good' : 'none'
      // While it beats in time the page stays as it is.
      const isHeard = there && !late
      return html`<li class="cell ${level}">${sign(level)} <b>${role}</b> ${of} ${late ? 'silent' : there ? 'at work' : 'ended'}
<dl><div><dt>${isHeard ? 'since' : 'last heard'}</dt><dd>${time(isHeard ? started : heard)}</dd></div></dl></li>`
    },
  )}</ul>
${queue === null ? null : html`<p class="note">queue: ${many(queue.waiting, 'job')} waiting, ${queue.active} at work</p>`}</section>
${facts('versions', 'This relayer', [
  ['version', version],
  ['network', network],
  ['public keys', totals === null ? null : String(totals.validators)],
  ['exits ready', totals === null ? null : String(totals.ready)],
  ['registered', totals === null ? null : String(totals.registered)],
])}`
}

/** What is said of services. */
export type Services = Pick<Status, 'ready' | 'unused' | 'doubts'>

/** The services that the relayer leans on, as `GET /ready` has them; of what is not in use not that it works. */
export function servicesSection({ ready, unused, doubts }: Services): Html | null {
  if (ready === null) return null
  return html`<section id="services" aria-labelledby="services-title"><h2 id="services-title">What it needs</h2><ul class="cells">${Object.entries(
    ready.checks,
  ).map(([name, { ok, message }]) => {
    const idle = ok ? unused[name] : undefined
    const level = idle !== undefined ? 'none' : ok ? 'good' : 'bad'
    const word = idle?.state ?? (ok ? 'works' : 'does not')
    const note = message ?? idle?.why ?? doubts[name]
    return html`<li class="cell ${level}" data-key="${name}">${help(ok ? null : ANCHORS.service, html`${sign(level)} <b>${name.replaceAll('_', ' ')}</b> ${word}`)}${note === undefined ? null : html`<p class="note">${note}</p>`}</li>`
  })}</ul></section>`
}
