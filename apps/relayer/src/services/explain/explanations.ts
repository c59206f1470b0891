/** `GET /validators/{public_key}/explain` and the command: what is known of a validator, gathered and explained. */

import type { Explanation } from '@dvt-relayer/api/schemas.ts'
import { createKeyedQueue } from '@dvt-relayer/common/flow/keyed-queue.ts'
import { equalBytes, toHex } from '@dvt-relayer/common/hex.ts'
import { findNewestWorker } from '@dvt-relayer/db/queries/attendance/processes.ts'
import { findExplained, findExplainedNodes, findExplainedShares, findMoment } from '@dvt-relayer/db/queries/explain.ts'
import type { Context } from '../../context.ts'
import { ApiError } from '../../errors.ts'
import { SILENCE_SECONDS } from '../attendance/heartbeat.ts'
import { DELAY_SECONDS } from '../exits/retention.ts'
import { charonApiOf } from './charon-commands.ts'
import { explain, type Facts, inWords, type Moment, NO_SHARE_INDEX } from './explain.ts'
import { REASONS } from './reasons.ts'

/** Explanations of one caller at once, and those that wait: each takes the database a few milliseconds. */
const OF_ONE = { depth: 1, waiting: 16 }

/** Who asks; what is undefined is not bound. */
interface Asker {
  name: string | null
  vaults: readonly Uint8Array[] | undefined
  shareIndexes: readonly number[] | undefined
}

/** What is seen of a moment; the rest of it is settings. */
type Sight = Omit<Moment, 'lifetimeSeconds' | 'erasureDelaySeconds' | 'charon'>

const momentOf = (config: Context['config'], sight: Sight): Moment => ({
  ...sight,
  lifetimeSeconds: config.validatorLifetimeSeconds,
  erasureDelaySeconds: config.exitRetention === 'erase' ? DELAY_SECONDS : undefined,
  charon: charonApiOf(config),
})

/** What is known of these validators; those that are not there are left out. */
async function findFacts(
  { config, db }: Pick<Context, 'config' | 'db'>,
  publicKeys: readonly Uint8Array[],
): Promise<Facts[]> {
  const { slotsPerEpoch, secondsPerSlot } = config.network
  const validators = await findExplained(db, publicKeys, slotsPerEpoch * secondsPerSlot)
  const messageIds = validators.flatMap(({ exitId, depositId }) => [exitId, depositId].filter((id) => id !== null))
  const shares = await findExplainedShares(
    db,
    validators.map(({ id }) => id),
    messageIds,
  )
  return validators.map((validator) => ({
    validator,
    shares: shares.filter(({ validatorId }) => validatorId === validator.id),
  }))
}

/** The same of one, with the moment. */
async function findOne(
  context: Pick<Context, 'config' | 'db'>,
  publicKey: Uint8Array,
): Promise<{ facts: Facts | undefined; moment: Moment }> {
  const { config, db } = context
  const [facts] = await findFacts(context, [publicKey])
  const shareIndexes = new Set([NO_SHARE_INDEX, ...(facts?.shares ?? []).map(({ shareIndex }) => shareIndex)])
  const nodes = await findExplainedNodes(db, [...shareIndexes])
  const { isThere } = await findNewestWorker(db, SILENCE_SECONDS)
  // Last: nothing that was found before is of a later time.
  const { now, currentSetCid } = await findMoment(db)
  const sight = { now, currentSetCid, hasWorker: isThere, nodes: new Map(nodes.map((node) => [node.shareIndex, node])) }
  return { facts, moment: momentOf(config, sight) }
}

/** Creates the service. */
export function createExplanations(context: Pick<Context, 'config' | 'db'>) {
  const turns = createKeyedQueue(OF_ONE)
  return {
    /**
     * Explains a validator to who asks. One that its token does not cover is as unknown as one that is not there.
     *
     * @throws {ApiError} KEY_UNKNOWN, TOO_BUSY
     */
    async of(publicKey: Uint8Array, asker: Asker): Promise<Explanation> {
      let explanation: Explanation | undefined
      const turn = await turns.run(asker.name ?? '', async () => {
        const { facts, moment } = await findOne(context, publicKey)
        if (facts !== undefined && isCovered(facts, asker)) explanation = explain(facts, moment, asker.shareIndexes)
      })
      if (turn === 'full') throw new ApiError('TOO_BUSY', 'too many explanations at once; ask again')
      const { sentence, remedy } = REASONS.KEY_UNKNOWN
      if (explanation === undefined) throw new ApiError('KEY_UNKNOWN', `${sentence}: ${remedy}`)
      return explanation
    },
  }
}
export type Explanations = ReturnType<typeof createExplanations>

/**
 * Whether a validator is of a vault, or has a node, that the asker is bound to. Where its nodes are not known, any may be one; who is bound to
 * none of this validator is not.
 */
function isCovered({ validator: { vault }, shares }: Facts, { vaults, shareIndexes }: Omit<Asker, 'name'>): boolean {
  if (vaults !== undefined && !vaults.some((bound) => vault !== null && equalBytes(bound, vault))) return false
  const nodes = shares.filter(({ isTrusted }) => isTrusted)
  return (
    shareIndexes === undefined ||
    (nodes.length === 0 && shareIndexes.length > 0) ||
    nodes.some(({ shareIndex }) => shareIndexes.includes(shareIndex))
  )
}

/**
 * Explains these validators, in this order; those that the asker's token does not cover are left out. What is seen of the moment may be a
 * little older than what is known of them.
 */
export async function explainMany(
  context: Pick<Context, 'config' | 'db'>,
  publicKeys: readonly Uint8Array[],
  asker: Omit<Asker, 'name'>,
  sight: Sight,
): Promise<Explanation[]> {
  if (publicKeys.length === 0) return []
  const facts = await findFacts(context, publicKeys)
  const moment = momentOf(context.config, sight)
  const byKey = new Map(facts.map((one) => [toHex(one.validator.publicKey), one]))
  return publicKeys.flatMap((publicKey) => {
    const one = byKey.get(toHex(publicKey))
    return one === undefined || !isCovered(one, asker) ? [] : [explain(one, moment, asker.shareIndexes)]
  })
}

/** Explains a validator to who runs the relayer, also one that is not known. */
export async function explainToAdmin(
  context: Pick<Context, 'config' | 'db'>,
  publicKey: Uint8Array,
): Promise<Explanation> {
  const { facts, moment } = await findOne(context, publicKey)
  return facts === undefined ? unknown(publicKey, moment) : explain(facts, moment)
}

function unknown(publicKey: Uint8Array, { now, currentSetCid }: Moment): Explanation {
  const verdict = inWords({ code: 'KEY_UNKNOWN', shareIndexes: [] })
  return {
    ...{ public_key: toHex(publicKey), verdict, reasons: [verdict], generation: null, cluster: null, vault: null },
    ...{ exit: null, deposit: null, shares: [], validator_index: null, oracle_set_cid: currentSetCid },
    ...{ shares_oracle_set_cid: null, next: [], time: now },
  }
}
