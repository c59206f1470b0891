/** Of the status page: clusters by their nodes, and validators that are not ready by their nodes. */

import type { Explanation, Status, StatusCluster, StatusNode } from '@dvt-relayer/api/schemas.ts'
import { REASONS } from '../../services/explain/reasons.ts'
import { type Html, html } from './html.ts'
import { CAME_BY, help, hex, many, sign, time } from './words.ts'

const STATES: Readonly<Record<StatusNode['state'], string>> = {
  there: 'there',
  away: 'away',
  never: 'never seen',
  unknown: 'cannot be told',
}
const NODE_WORDS: Readonly<Record<string, string>> = {
  NODE_AWAY: 'away',
  NODE_NEVER_SEEN: 'never seen',
  NODE_REFUSED: 'refused',
  NODE_RUNS_CHARON: 'charon is to run',
  NODE_SILENT: 'does not sign',
  NODE_UNKNOWN: 'cannot be told',
}

/** Clusters, each with its nodes. */
export function clustersSection({ clusters, clusters_left_out: leftOut }: Status): Html {
  return html`<section id="clusters" aria-labelledby="clusters-title"><h2 id="clusters-title">Clusters and nodes</h2>
${clusters.length === 0 ? html`<p class="empty">No cluster is known that you may see. CLUSTER_LOCK_FILES, SSV_KEYSHARES_FILES or SSV_OWNERS of the relayer bring one.</p>` : clusters.map(clusterBlock)}
${leftOut === 0 ? null : html`<p class="more">${many(leftOut, 'cluster')} more, in which nothing worse is wrong.</p>`}
</section>`
}

function clusterBlock({ name, source, threshold, validators, collecting, nodes }: StatusCluster): Html {
  const numbers = [
    validators === null ? null : many(validators, 'validator'),
    nodes.length === 0 ? `threshold ${threshold}` : `any ${threshold} nodes sign`,
    collecting === null || collecting === 0 ? null : `${collecting} not ready`,
    source === 'lock' ? null : source === 'ssv' ? 'SSV' : 'key list',
  ].filter((words) => words !== null)
  return html`<div class="cluster" data-key="${name}"><h3>${name}</h3><p class="note">${numbers.join(' · ')}</p>
<ul class="cells">${nodes.map(nodeCell)}</ul></div>
`
}

function nodeCell(node: StatusNode): Html {
  const { share_index: index, state, reason, waiting } = node
  const level = reason === null ? (state === 'there' ? 'good' : 'none') : reason === 'NODE_UNKNOWN' ? 'none' : 'bad'
  const word = reason === null ? STATES[state] : (NODE_WORDS[reason] ?? STATES[state])
  const facts: [string, Html | string | null][] = [
    ['since', time(node.online_since_timestamp)],
    ['last seen', state === 'there' && node.online_since_timestamp !== null ? null : time(node.seen_at_timestamp)],
    ['owes', waiting === null || waiting === 0 ? null : many(waiting, 'signature')],
    ['oldest', time(node.oldest_at_timestamp)],
    ['refused', node.refusal_code === null ? null : html`${node.refusal_code} ${time(node.refused_at_timestamp)}`],
    ['came by', node.came_by === null ? null : CAME_BY[node.came_by]],
    ['runs', node.software === null ? null : `${node.software} ${node.version ?? ''}`],
    ['clock', clockWords(node.clock_difference_seconds)],
  ]
  const title = html`${sign(level)} <b>Node ${index}</b> ${word}`
  return html`<li class="cell ${level}" data-key="${index}" data-state="${reason ?? state}">${help(reason === null ? null : REASONS[reason].anchor, title)}
<dl>${facts.map(([name, value]) => (value === null ? null : html`<div><dt>${name}</dt><dd>${value}</dd></div>`))}</dl></li>`
}

const clockWords = (seconds: number | null): string | null =>
  seconds === null || Math.abs(seconds) <= 1 ? null : `${Math.abs(seconds)} s ${seconds > 0 ? 'ahead' : 'behind'}`

/** Validators by their nodes: those of which something is collected, or those that were searched for. */
export function validatorsSection({ validators: { items, next, key }, totals }: Status): Html {
  const number = totals === null ? '' : ` (${totals.collecting})`
  const title = key === null ? `Validators that are not ready${number}` : 'Validators found'
  return html`<section id="validators" aria-labelledby="validators-title"><h2 id="validators-title">${title}</h2>
<form action="status" method="get" role="search"><label for="key">Public key, or how it begins</label>
<input id="key" name="key" value="${key ?? ''}" placeholder="0x&hellip;" maxlength="98" autocomplete="off" spellcheck="false" pattern="\\s*(0[xX])?[0-9a-fA-F]*\\s*" title="hex digits">
<button>Search</button>${key === null ? null : html` <a href="status#validators">all that are not ready</a>`}</form>
${items.length === 0 ? emptyWords(key) : html`<ul class="rows">${items.map(validatorRow)}</ul>`}
${next === null ? null : html`<p class="more"><a href="status?after=${next}#validators">more</a></p>`}
</section>`
}

const emptyWords = (key: string | null): Html =>
  html`<p class="empty">${key === null ? 'None: nothing that was asked for waits for signatures.' : 'No validator that you may see has a key that begins so.'}</p>`

function validatorRow(validator: Explanation): Html {
  const { public_key: key, verdict, shares, cluster, next } = validator
  const isGood = verdict.code === 'READY' || verdict.code === 'REGISTERED'
  const level = verdict.who !== 'nobody' && !isGood ? 'bad' : isGood ? 'good' : 'waiting'
  const [coming] = next
  return html`<li class="row" data-key="${key}"><div class="head">${hex(key)}${cluster === null ? null : html` <span class="note">${cluster.name}</span>`}</div>
<p class="verdict ${level}">${sign(level)} ${help(verdict.runbook.split('#')[1] ?? null, html`<b>${verdict.code}</b>`)} ${verdict.sentence}${indexesOf(verdict)}</p>
${verdict.who === 'nobody' ? null : html`<p class="note">${verdict.remedy}</p>`}
<ul class="chips" aria-label="shares">${shares.map(shareChip)}</ul>
${coming === undefined ? null : html`<p class="note">${NEXT[coming.what]} ${time(coming.at_timestamp)}</p>`}</li>
`
}

/** Whose shares it is about. */
const indexesOf = ({ share_indexes: indexes }: Explanation['verdict']): string =>
  indexes.length === 0 ? '' : ` (${indexes.length === 1 ? 'node' : 'nodes'} ${indexes.join(', ')})`

const NEXT: Readonly<Record<Explanation['next'][number]['what'], string>> = {
  expires: 'expires, unless an operator asks again:',
  erased: 'its exit may be erased:',
  force_exit: 'may be exited by force:',
  rotation_deadline: 'the transaction of its renewal is good until',
}

function shareChip({ share_index: index, exit, deposit, node }: Explanation['shares'][number]): Html {
  const states = [exit?.state, deposit?.state].filter((state) => state !== undefined)
  const isWrong = states.includes('rejected')
  const isMissing = states.includes('missing')
  const level = isWrong
    ? 'bad'
    : isMissing
      ? node.state === 'away' || node.state === 'never'
        ? 'bad'
        : 'waiting'
      : 'good'
  const kinds = [exit === null ? null : `exit ${exit.state}`, deposit === null ? null : `deposit ${deposit.state}`]
  const said = kinds.filter((words) => words !== null).join(', ') || 'nothing asked'
  const word = isWrong ? 'wrong' : isMissing ? 'missing' : states.length === 0 ? '' : 'in'
  return html`<li class="chip ${level}" data-key="${index}" title="${said}; node ${STATES[node.state]}">${sign(states.length === 0 ? 'none' : level)} ${index} <span>${word}</span></li>`
}
