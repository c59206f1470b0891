/**
 * What is wrong, or waited for, from what a caller sees of everything: the list on top of the status page, and the one sentence above it.
 * Pure, so that page, command and tests say the same.
 */

import type { Problem, ReasonCode, Status, StatusCluster, StatusNode, StatusVault } from '@dvt-relayer/api/schemas.ts'
import { count } from '@dvt-relayer/common/findings.ts'
import { LATE_SECONDS, SILENCE_SECONDS } from '../attendance/heartbeat.ts'
import { REASONS } from '../explain/reasons.ts'

/** Where the runbook says what to do about what is no reason of a validator. */
export const ANCHORS = {
  service: 'a-service-is-away',
  keys: 'keys-run-out',
  unserved: 'a-vault-gets-no-keys',
  limit: 'the-daily-limit-is-reached',
  versions: 'versions-differ',
  clock: 'a-clock-is-off',
} as const

/** With fewer keys left it is time to make more. */
const FEW_KEYS = 10
/** A clock may be off by this much, as in the doctor of the sidecar. */
const CLOCK_SECONDS = 5

type Facts = Omit<Status, 'headline' | 'problems'>

/** Everything that is wrong or waited for, the worst first. */
export function findProblems(facts: Facts): Problem[] {
  const all = [
    ...ofWorkers(facts),
    ...ofServices(facts),
    ...facts.clusters.flatMap((cluster) => ofShortCluster(cluster, facts)),
    ...ofNodes(facts),
    ...ofValidators(facts),
    ...facts.vaults.flatMap((vault) => ofVault(vault, facts)),
    ...ofUnserved(facts),
    ...ofManager(facts),
    ...ofExits(facts),
  ]
  return (['bad', 'waiting'] as const).flatMap((level) => all.filter((one) => one.level === level))
}

/** The one sentence that says how it stands. */
export function headlineOf(problems: readonly Problem[], { totals, clusters }: Facts): Problem {
  const [first, ...others] = problems
  if (first !== undefined) {
    const more = others.filter(({ level }) => level === first.level).length
    return { ...first, sentence: `${capital(first.sentence)}${more === 0 ? '' : `, and ${more} more below`}.` }
  }
  const sum =
    totals === null
      ? ''
      : `: ${count(totals.registered - totals.exited, 'validator')} registered, ${count(totals.ready, 'exit')} ready`
  // Of such a node it would not be seen that it is away.
  if (clusters.some(({ nodes }) => nodes.some(({ state }) => state === 'unknown')))
    return waiting(
      `Nothing is wrong that can be seen${sum}; but which nodes are there cannot be told: give each a token of its own, bound to its share index.`,
      anchorOf('NODE_UNKNOWN'),
    )
  return {
    level: 'good',
    sentence: `Nothing is wrong${totals === null ? ' that you may see' : ''}${sum}.`,
    anchor: null,
  }
}

/** "1 validator waits", "2 validators wait" */
const many = (number: number, noun: string, [one, more]: readonly [string, string]): string =>
  `${count(number, noun)} ${number === 1 ? one : more}`

const capital = (text: string): string => `${text[0]?.toUpperCase() ?? ''}${text.slice(1)}`
const bad = (sentence: string, anchor: string | null): Problem => ({ level: 'bad', sentence, anchor })
const waiting = (sentence: string, anchor: string | null): Problem => ({ level: 'waiting', sentence, anchor })
const anchorOf = (code: ReasonCode): string => REASONS[code].anchor

/** "2024-11-21 00:00:00 UTC" */
export const utc = (seconds: number): string =>
  `${new Date(seconds * 1000).toISOString().slice(0, 19).replace('T', ' ')} UTC`

/** Whether a process that counts as there has not been heard as it should: killed a moment ago, or kept from the database. */
export const isLate = ({ there, heard_at_timestamp: heardAt }: Facts['processes'][number], now: number): boolean =>
  there && now - heardAt > LATE_SECONDS

function ofWorkers({ processes, counted_at_timestamp: countedAt, time }: Facts): Problem[] {
  const there = processes.filter((process) => process.there)
  if (there.every(({ role }) => role === 'api')) return [bad(REASONS.NO_WORKER.sentence, anchorOf('NO_WORKER'))]
  const versions = [...new Set(there.map(({ version }) => version))].sort()
  return [
    ...(versions.length > 1
      ? [waiting(`relayers of several versions run on one database: ${versions.join(', ')}`, ANCHORS.versions)]
      : []),
    ...there.flatMap((process) =>
      isLate(process, time)
        ? [
            waiting(
              `a process of the role ${process.role} was last heard at ${utc(process.heard_at_timestamp)}: it may have ended, and counts as gone after ${SILENCE_SECONDS} s`,
              anchorOf('NO_WORKER'),
            ),
          ]
        : [],
    ),
    ...(countedAt === null ? [waiting('no worker has counted yet: numbers come in a moment', null)] : []),
  ]
}

function ofServices({ ready }: Facts): Problem[] {
  // That there is no worker was said.
  return Object.entries(ready?.checks ?? {}).flatMap(([name, { ok, message }]) =>
    ok || name === 'worker'
      ? []
      : [bad(`${name.replaceAll('_', ' ')} is not well: ${message ?? 'no reason was given'}`, ANCHORS.service)],
  )
}

/** A cluster that cannot sign: fewer nodes are there than it needs. Where not all its nodes are known, or shown, that cannot be told. */
function ofShortCluster({ name, source, threshold, nodes }: StatusCluster, { caller }: Facts): Problem[] {
  const there = nodes.filter(canSign).length
  if (caller.role === 'sidecar' || source === 'list' || nodes.length < threshold || there >= threshold) return []
  return [
    bad(
      `cluster ${quoted(name)} cannot sign: ${there} of the ${threshold} nodes it needs are there`,
      anchorOf('NODE_AWAY'),
    ),
  ]
}

/** Of a node without a sidecar, which is away between two runs of charon, that is no reason. */
const canSign = ({ state, reason }: StatusNode): boolean =>
  state === 'there' || state === 'unknown' || (state === 'away' && (reason === null || reason === 'NODE_RUNS_CHARON'))

/** A name as text that cannot be taken for more than a name; markup is the page's to escape. */
const quoted = (name: string): string => JSON.stringify(name)

/** What is wrong with nodes: once for each share index and reason, in however many clusters. */
function ofNodes({ clusters }: Facts): Problem[] {
  const found = new Map<string, { node: StatusNode; names: string[] }>()
  for (const { name, nodes } of clusters)
    for (const node of nodes) {
      const key = `${node.reason} ${node.share_index}`
      if (node.reason === null) continue
      const known = found.get(key)
      if (known === undefined) found.set(key, { node, names: [name] })
      else known.names.push(name)
    }
  const clocks = new Map(clusters.flatMap(({ nodes }) => nodes.map((node) => [node.share_index, node] as const)))
  return [
    ...[...found.values()].map(({ node, names }) => ofNode(node, names)),
    ...[...clocks.values()].flatMap(ofClock),
  ]
}

function ofNode(node: StatusNode, names: readonly string[]): Problem {
  const {
    share_index: index,
    reason,
    seen_at_timestamp: seenAt,
    refusal_code: code,
    oldest_at_timestamp: oldest,
  } = node
  const [name = ''] = names
  const who = `node ${index} of ${names.length === 1 ? `cluster ${quoted(name)}` : count(names.length, 'cluster')}`
  const since = (at: number | null) => (at === null ? '' : ` since ${utc(at)}`)
  const anchor = reason === null ? null : anchorOf(reason)
  if (reason === 'NODE_NEVER_SEEN') return bad(`${who} was never seen under its share index`, anchor)
  if (reason === 'NODE_AWAY')
    return bad(`${who} is away, last seen ${seenAt === null ? 'long ago' : `at ${utc(seenAt)}`}`, anchor)
  if (reason === 'NODE_REFUSED') return bad(`what ${who} sends is refused with ${code ?? 'an error'}`, anchor)
  if (reason === 'NODE_SILENT')
    return bad(`${who} is there and has not signed what was asked for${since(oldest)}`, anchor)
  if (reason === 'NODE_RUNS_CHARON')
    return waiting(`${who} hands in with charon, and has not signed what was asked for${since(oldest)}`, anchor)
  return waiting(`${who} has not signed, and whether it is there cannot be told`, anchor)
}

function ofClock({ share_index: index, clock_difference_seconds: seconds }: StatusNode): Problem[] {
  if (seconds === null || Math.abs(seconds) <= CLOCK_SECONDS) return []
  const how = seconds > 0 ? 'ahead of' : 'behind'
  return [bad(`the clock of node ${index} is ${Math.abs(seconds)} s ${how} the relayer's`, ANCHORS.clock)]
}

/** What nodes are to blame for stands at the nodes. */
const OF_NODES: readonly ReasonCode[] = [
  ...(['NODE_REFUSED', 'NODE_NEVER_SEEN', 'NODE_AWAY', 'NODE_RUNS_CHARON'] as const),
  ...(['NODE_SILENT', 'NODE_UNKNOWN', 'NO_WORKER'] as const),
  ...(['READY', 'OTHER_NODES', 'KEY_UNKNOWN', 'NOT_ASKED', 'SHARES_TOO_FEW'] as const),
]

/** What keeps the validators that are listed, other than nodes that are away: wrong shares, and what cannot be complete. */
function ofValidators({ validators: { items } }: Facts): Problem[] {
  const found = new Map<ReasonCode, number>()
  for (const { verdict } of items)
    if (verdict.who !== 'nobody' && !OF_NODES.includes(verdict.code))
      found.set(verdict.code, (found.get(verdict.code) ?? 0) + 1)
  return [...found].map(([code, number]) =>
    bad(`of ${count(number, 'validator')}: ${REASONS[code].sentence}`, anchorOf(code)),
  )
}

function ofVault(vault: StatusVault, { manager, time }: Facts): Problem[] {
  const { vault: address, outdated, wrong_index: wrong, force_exit_at_timestamp: forceAt, rotation } = vault
  const { keys_free: free, keys_reserved: reserved } = vault
  const isSigned = manager?.address != null
  const anchor = anchorOf('SHARES_OUTDATED')
  const isLate = forceAt !== null && forceAt <= time
  const who = outdated === 1 ? 'it' : 'they'
  const when = forceAt === null ? '' : isLate ? ' now' : ` from ${utc(forceAt)} on`
  const shares = `${count(outdated, 'validator')} of vault ${address} ${outdated === 1 ? 'has' : 'have'} shares of earlier oracles${forceAt === null ? '' : `: ${who} may be exited by force${when}`}`
  return [
    ...(outdated === 0
      ? []
      : [
          rotation?.state === 'sent' && !isLate
            ? waiting(`${shares}; new ones are on their way`, anchor)
            : bad(shares, anchor),
        ]),
    ...(wrong === 0
      ? []
      : [
          bad(
            `${count(wrong, 'validator')} of vault ${address}: ${REASONS.INDEX_WRONG.sentence}`,
            anchorOf('INDEX_WRONG'),
          ),
        ]),
    ...(!isSigned || free === null || reserved === null || free >= FEW_KEYS
      ? []
      : hasNoKey(vault, manager)
        ? [bad(`vault ${address} has no key left`, ANCHORS.keys)]
        : [waiting(`vault ${address} has ${count(free, 'free key')} left`, ANCHORS.keys)]),
  ]
}

/** Whether a vault that is signed for has nothing left to register. */
const hasNoKey = ({ keys_free: free, keys_reserved: reserved }: StatusVault, manager: Facts['manager']): boolean =>
  manager?.address != null && free === 0 && reserved === 0

/** Vaults that ask in vain: anybody may ask, so that nothing of it is red. */
function ofUnserved({ unserved, vaults, manager }: Facts): Problem[] {
  const said = vaults.filter((vault) => hasNoKey(vault, manager)).map(({ vault }) => vault)
  return unserved.flatMap(({ vault, asked_at_timestamp: at, validators, reason }) =>
    said.includes(vault)
      ? []
      : [
          waiting(
            `vault ${vault} has asked for ${count(validators, 'validator')} and got none, last at ${utc(at)}: ${reason}`,
            ANCHORS.unserved,
          ),
        ],
  )
}

function ofManager({ manager }: Facts): Problem[] {
  if (manager === null || manager.limit_gwei === null) return []
  const limit = BigInt(manager.limit_gwei)
  return manager.vaults.flatMap(({ vault, moved_gwei: moved, left_gwei: left }) => {
    if (left === '0') return [bad(`what the manager may move of vault ${vault} within a day is used up`, ANCHORS.limit)]
    const isMuch = BigInt(moved) * 5n >= limit * 4n && limit > 0n
    return isMuch
      ? [waiting(`four fifths of what the manager may move of vault ${vault} within a day are used`, ANCHORS.limit)]
      : []
  })
}

function ofExits({ totals, clusters, oracle_set: set }: Facts): Problem[] {
  const unsplit = totals?.unsplit ?? 0
  const collecting = totals?.collecting ?? clusters.reduce((sum, one) => sum + (one.collecting ?? 0), 0)
  return [
    ...(unsplit === 0
      ? []
      : set === null
        ? [
            bad(
              `${count(unsplit, 'exit')} cannot be split: no oracle config is known yet`,
              anchorOf('ORACLE_SET_MISSING'),
            ),
          ]
        : [
            waiting(
              `${many(unsplit, 'exit', ['is', 'are'])} being split for the oracles in force`,
              anchorOf('BEING_SPLIT'),
            ),
          ]),
    ...(collecting === 0
      ? []
      : [
          waiting(
            `${many(collecting, 'validator', ['waits', 'wait'])} for signatures of nodes`,
            anchorOf('COLLECTING'),
          ),
        ]),
  ]
}
