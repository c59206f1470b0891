/** `npm run relayer -- explain`: why a validator is not ready, from the database of a relayer, which is only read. */

import { parseArgs } from 'node:util'
import type { Explanation } from '@dvt-relayer/api/schemas.ts'
import { parseHex } from '@dvt-relayer/common/hex.ts'
import { createLogger } from '@dvt-relayer/common/log/logger.ts'
import { Lifetime } from '@dvt-relayer/common/process/lifetime.ts'
import type { Environment } from '@dvt-relayer/common/settings.ts'
import { timeText } from '@dvt-relayer/common/time-text.ts'
import { readConfig } from '../config.ts'
import { CAME_BY } from '../http/status/words.ts'
import { explainToAdmin } from '../services/explain/explanations.ts'
import { COMMANDS, usageError, usageOf } from './usage.ts'
import { openExisting } from './with-database.ts'

const INSTEAD = 'That relayer says it as well: GET /validators/{public_key}/explain'

/** Runs the command. Returns an exit code: 1 where the key is not known. */
export async function explainCommand(args: readonly string[], environment: Environment): Promise<number> {
  const { values, positionals } = parseArgs({
    args: [...args],
    options: COMMANDS.explain.options,
    allowPositionals: true,
  })
  const [text = '', ...more] = positionals
  const publicKey = parseHex(text, 48)
  if (publicKey === undefined || more.length > 0)
    throw usageError('explain wants one validator public key', usageOf('explain'))
  const { config } = readConfig(environment)
  // Standard output is the explanation's.
  const logger = createLogger({ ...config.log, destination: process.stderr })
  await using lifetime = new Lifetime(logger)
  const db = await openExisting(config, logger, lifetime, 'read', INSTEAD)
  const explanation = await explainToAdmin({ config, db }, publicKey)
  console.log(values.json ? JSON.stringify(explanation, undefined, 2) : inText(explanation))
  return explanation.verdict.code === 'KEY_UNKNOWN' ? 1 : 0
}

const ACTORS: Readonly<Record<Explanation['verdict']['who'], string>> = {
  operator: "the vault's operator",
  node_operator: 'who runs these nodes',
  relayer_admin: 'who runs the relayer',
  nobody: 'nobody',
}
const NODE_STATES: Readonly<Record<Explanation['shares'][number]['node']['state'], string>> = {
  there: 'there',
  away: 'away',
  never: 'never seen',
  unknown: 'cannot be told from others',
}
const NEXT: Readonly<Record<Explanation['next'][number]['what'], string>> = {
  expires: 'it expires, unless an operator asks again',
  erased: 'its exit may be erased',
  force_exit: 'it may be exited by force, unless its shares are renewed',
  rotation_deadline: 'the transaction of its renewal is too late, and a new one is made',
}

/** The explanation as a person reads it. */
function inText(explanation: Explanation): string {
  const { public_key: key, verdict, reasons, cluster, vault, validator_index: index, next, time } = explanation
  const lines = [
    key,
    `${verdict.code}: ${verdict.sentence}${ofNodes(verdict)}`,
    `  who has to act: ${ACTORS[verdict.who]}`,
    `  what to do: ${verdict.remedy}`,
    `  see ${verdict.runbook}`,
    ...reasons.slice(1).map((reason) => `and ${reason.code}: ${reason.sentence}${ofNodes(reason)}`),
    ...(cluster === null ? [] : [`cluster ${JSON.stringify(cluster.name)}, threshold ${cluster.threshold}`]),
    ...(vault === null ? [] : [`vault ${vault}`]),
    ...(index === null ? [] : [`validator index ${index}`]),
    ...(['exit', 'deposit'] as const).flatMap((kind) => {
      const message = explanation[kind]
      return message === null
        ? []
        : [`${kind} ${message.state}, asked for ${ago(message.requested_at_timestamp, time)}`]
    }),
    ...explanation.shares.flatMap((share) => [
      shareLine(share, time),
      ...(share.charon_commands ?? []).map((command) => `  without a sidecar: ${command}`),
    ]),
    ...next.map(({ what, at_timestamp: at }) => `${timeText(at)}: ${NEXT[what]}`),
  ]
  return lines.join('\n')
}

const ofNodes = ({ share_indexes: indexes }: Explanation['verdict']): string =>
  indexes.length === 0 ? '' : ` (share ${indexes.length === 1 ? 'index' : 'indexes'} ${indexes.join(', ')})`

function shareLine({ share_index: index, exit, deposit, node }: Explanation['shares'][number], now: number): string {
  const parts = [
    ...Object.entries({ exit, deposit }).flatMap(([kind, signature]) => {
      if (signature === null) return []
      const { state, received_at_timestamp: at } = signature
      return [`${kind} ${state}${at === null ? '' : ` ${ago(at, now)}`}`]
    }),
    `node ${NODE_STATES[node.state]}${node.seen_at_timestamp === null ? '' : `, seen ${ago(node.seen_at_timestamp, now)}`}${node.came_by === undefined ? '' : `, by ${CAME_BY[node.came_by]}`}`,
    ...(node.refused_at_timestamp === null
      ? []
      : [`refused with ${node.refusal_code} ${ago(node.refused_at_timestamp, now)}`]),
  ]
  return `share ${index}: ${parts.join('; ')}`
}

const ago = (at: number, now: number): string => `at ${timeText(at)} (${Math.max(0, now - at)} s ago)`
