/** The oracles of a rotation: who they are, what their config allows, and what they say (docs/protocol.md#16-rotation). */

import { ChainError } from '@dvt-relayer/chain/errors.ts'
import type { OracleClient, OutdatedValidators, RotationRequest } from '@dvt-relayer/chain/stakewise/oracle-client.ts'
import { createOracleClient } from '@dvt-relayer/chain/stakewise/oracle-client.ts'
import { HttpError } from '@dvt-relayer/common/http/client.ts'
import { parseAddress } from '@dvt-relayer/crypto/address.ts'
import { oracleAddress } from '@dvt-relayer/crypto/oracle/ecies.ts'
import type { OracleSetRow } from '@dvt-relayer/db/queries/oracle-shares.ts'
import { Type } from 'typebox'
import { Compile } from 'typebox/compile'
import type { RelayerConfig } from '../../config.ts'
import type { Events } from '../../events.ts'
import type { ApprovalOutcome } from '../../metrics.ts'

const ORACLE_KEY_BYTES = 65
/** Validators of one update where the config does not say. */
const BATCH_LIMIT = 100
/** How long the oracles are listened to: their replicas are asked in turn, 10 s each. */
const LEARN_MS = 15_000
const APPROVE_MS = 30_000
/** How long the others have once enough have answered. */
const LATE_MS = 3_000

const whole = Type.Integer({ minimum: 1, maximum: Number.MAX_SAFE_INTEGER })
/** What of the stored config a rotation needs; the keys stand in a column of their own. */
const storedConfig = Compile(
  Type.Object({
    oracles: Type.Array(Type.Object({ endpoints: Type.Array(Type.String()) })),
    validatorsExitRotationBatchLimit: Type.Optional(whole),
    signatureValidityPeriod: Type.Optional(whole),
  }),
)

/** An oracle with its client. */
interface RotationOracle {
  /** 20 bytes. */
  address: Uint8Array
  client: OracleClient
}

/** The oracles of a set, and what its config says of rotations. */
export interface RotationOracles {
  oracles: readonly RotationOracle[]
  batchLimit: number
  /** Seconds an approval is good for; undefined where the config does not say, and nothing can be asked for then. */
  validitySeconds: number | undefined
}

/** The oracles of a set, in its order. */
export function readRotationOracles(network: RelayerConfig['network'], set: OracleSetRow): RotationOracles {
  const config = storedConfig.Check(set.config) ? set.config : { oracles: [] }
  const count = set.publicKeys.length / ORACLE_KEY_BYTES
  const oracles = Array.from({ length: count }, (_, position) => {
    const key = set.publicKeys.subarray(position * ORACLE_KEY_BYTES, (position + 1) * ORACLE_KEY_BYTES)
    const address = oracleAddress(key)
    const client = createOracleClient(network, { address, endpoints: config.oracles[position]?.endpoints ?? [] })
    return { address: parseAddress(address) ?? new Uint8Array(), client }
  })
  return {
    oracles,
    batchLimit: config.validatorsExitRotationBatchLimit ?? BATCH_LIMIT,
    validitySeconds: config.signatureValidityPeriod,
  }
}

/** What the oracles say together: how many can be trusted, and the indexes that enough of them name, ascending. */
export interface Learnt {
  answers: number
  indexes: number[]
}

/**
 * Asks every oracle which validators of a vault are outdated. An index counts when `needed` of the trusted answers name it: fewer
 * could not approve it. With fewer than `needed` answers nothing is learnt.
 *
 * @param sinceBlock block of the vault's last final update
 */
export async function askOutdated(
  { oracles }: RotationOracles,
  question: { vault: Uint8Array; sinceBlock: number; needed: number },
  signal: AbortSignal,
): Promise<Learnt> {
  const late = new AbortController()
  const within = AbortSignal.any([signal, late.signal, AbortSignal.timeout(LEARN_MS)])
  const answers: OutdatedValidators[] = []
  let timer: NodeJS.Timeout | undefined
  const ask = async ({ client }: RotationOracle) => {
    answers.push(await client.findOutdated(question.vault, question.sinceBlock, within))
    if (answers.length === question.needed) timer = setTimeout(() => late.abort(), LATE_MS)
  }
  await Promise.allSettled(oracles.map(ask))
  clearTimeout(timer)
  if (answers.length < question.needed) return { answers: answers.length, indexes: [] }
  const named = new Map<number, number>()
  for (const { indexes } of answers) for (const index of indexes) named.set(index, (named.get(index) ?? 0) + 1)
  const indexes = [...named].filter(([, times]) => times >= question.needed).map(([index]) => index)
  return { answers: answers.length, indexes: indexes.sort((a, b) => a - b) }
}

/** Equal approvals: enough of them, or as many as the largest group has. */
export interface Approvals {
  ipfsHash: string
  signatures: { address: Uint8Array; signature: Uint8Array }[]
}

/**
 * Asks every oracle for its approval, all at once, until `needed` of them have approved the same content. Each signature is one
 * oracle's own over this vault, nonce and deadline; whoever approves other content counts for that content only.
 *
 * @returns the largest group of equal approvals; the caller counts it
 */
export async function askApprovals(
  { oracles, validitySeconds = 0 }: RotationOracles,
  request: RotationRequest,
  needed: number,
  events: Events,
  signal: AbortSignal,
): Promise<Approvals> {
  const enough = new AbortController()
  // An approval that comes when its time is nearly over is of no use to anybody.
  const limitMs = Math.min(APPROVE_MS, validitySeconds * 500)
  const within = AbortSignal.any([signal, enough.signal, AbortSignal.timeout(limitMs)])
  const groups = new Map<string, Approvals>()
  let largest: Approvals = { ipfsHash: '', signatures: [] }
  const done = Promise.withResolvers<void>()
  const ask = async ({ address, client }: RotationOracle) => {
    try {
      const { ipfsHash, signature } = await client.approve(request, within)
      const group = groups.get(ipfsHash) ?? { ipfsHash, signatures: [] }
      groups.set(ipfsHash, group)
      // What comes after enough others have is not needed any more.
      if (largest.signatures.length < needed) group.signatures.push({ address, signature })
      if (group.signatures.length > largest.signatures.length) largest = group
      if (largest.signatures.length >= needed) done.resolve()
    } catch (error) {
      if (!enough.signal.aborted) events.rotationApproved(outcomeOf(error), 1)
    }
  }
  void Promise.all(oracles.map(ask)).then(() => done.resolve())
  await done.promise
  enough.abort()
  for (const group of groups.values())
    events.rotationApproved(group === largest ? 'approved' : 'other', group.signatures.length)
  return largest
}

function outcomeOf(error: unknown): ApprovalOutcome {
  if (error instanceof HttpError) {
    if (error.code === 'HTTP_STATUS') return 'refused'
    return ['HTTP_TIMEOUT', 'HTTP_UNREACHABLE', 'HTTP_ABORTED'].includes(error.code) ? 'away' : 'wrong'
  }
  return error instanceof ChainError ? 'wrong' : 'away'
}
