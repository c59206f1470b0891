/**
 * What has to hold before a validator's exits are erased, since nothing brings them back: one node's word is not enough.
 *
 * - Every configured consensus node, each asked itself, has the validator in a state that it says is finalized, at the index that was
 *   noted and with the same withdrawal credentials. One that is away, syncing, optimistic or without its execution node says nothing, and
 *   nothing is erased without it.
 * - The finalized logs of the deposit contract have its first validly signed deposit, with those credentials.
 */

import type { ChainValidator } from '@dvt-relayer/chain/consensus/consensus.ts'
import { type ChainDeposit, readDeposits } from '@dvt-relayer/chain/execution/deposit-contract.ts'
import { getFinalBlock } from '@dvt-relayer/chain/execution/final-block.ts'
import { messageOf } from '@dvt-relayer/common/errors.ts'
import { equalBytes, fromHex, toHex } from '@dvt-relayer/common/hex.ts'
import type { ErasableRow, Held } from '@dvt-relayer/db/queries/messages/retention.ts'
import type { Context } from '../../context.ts'
import { createDepositJudge } from '../deposit-registry/deposits.ts'

/** Blocks whose logs are asked for at once. */
const AT_ONCE = 4

/** What a look at some validators has found. */
export interface ErasureLook {
  /** Everything holds, now. */
  held: Held[]
  /** Validators of which something is contradicted. */
  broken: number[]
  /** Whether a deposit is not, or not any more, in the block where it was found. */
  isDepositGone: boolean
  /** Why it does not hold, in words, with how many validators that is. */
  reasons: { reason: string; validators: number }[]
}

/** What one consensus node says of validators. */
interface Said {
  host: string
  validators: ReadonlyMap<string, ChainValidator>
}

/** What is found of one validator: the credentials that hold, or why they do not; a wait contradicts nothing. */
type Verdict = { holds: Uint8Array } | { broken: string } | { waits: string }

/** Creates what looks. */
export function createErasureProof({
  config,
  crypto,
  chain: { consensusNodes, execution },
}: Pick<Context, 'config' | 'crypto' | 'chain'>) {
  const judge = createDepositJudge({ config, crypto })

  /** What each node says, and why the others say nothing. */
  async function askNodes(publicKeys: readonly Uint8Array[]): Promise<{ said: Said[]; silent: string[] }> {
    const answers = await Promise.allSettled(
      consensusNodes.map(async (node) => ({ host: node.host, validators: await node.findFinal(publicKeys) })),
    )
    return {
      said: answers.flatMap((answer) => (answer.status === 'fulfilled' ? [answer.value] : [])),
      silent: answers.flatMap((answer) => (answer.status === 'rejected' ? [messageOf(answer.reason)] : [])),
    }
  }

  /**
   * The first validly signed deposits of these validators in the final ones of the blocks that are known of them, by lower-case hex of the
   * key, and the newest final block.
   */
  async function findDeposits(rows: readonly ErasableRow[], signal: AbortSignal) {
    const final = (await getFinalBlock(execution, config.network, 'no exit can be erased', signal))?.number ?? -1
    const known = new Set(rows.flatMap(({ depositBlock: block }) => (block === null || block > final ? [] : [block])))
    const keys = new Set(rows.map(({ publicKey }) => toHex(publicKey)))
    const found: ChainDeposit[] = []
    for (const some of slicesOf([...known].sort((a, b) => a - b))) {
      const read = await Promise.all(some.map((block) => readBlock(block, signal)))
      found.push(...read.flat().filter(({ publicKey }) => keys.has(toHex(publicKey))))
    }
    return { final, made: (await judge(found, new Set(), signal)).made }
  }

  async function readBlock(block: number, signal: AbortSignal): Promise<ChainDeposit[]> {
    signal.throwIfAborted()
    const found: ChainDeposit[] = []
    for await (const { deposits } of readDeposits(execution, config.network, block, block, signal))
      found.push(...deposits)
    return found
  }

  /** The same verdicts, once the deposits have been looked at of those where that is due. */
  async function withDeposits(
    verdicts: ReadonlyMap<ErasableRow, Verdict>,
    signal: AbortSignal,
  ): Promise<ReadonlyMap<ErasableRow, Verdict>> {
    // Asked for where nothing is known to hold yet, and again where exits would be erased now.
    const due = new Set(
      [...verdicts].flatMap(([row, verdict]) =>
        'holds' in verdict && (row.heldCredentials === null || row.isOver) ? [row] : [],
      ),
    )
    if (due.size === 0) return verdicts
    let judgeOne: (row: ErasableRow, credentials: Uint8Array) => Verdict
    try {
      const { final, made } = await findDeposits([...due], signal)
      judgeOne = (row, credentials) =>
        (row.depositBlock ?? 0) > final ? NOT_FINAL : ofDeposit(made.get(toHex(row.publicKey)), credentials)
    } catch (error) {
      signal.throwIfAborted()
      judgeOne = () => ({ waits: messageOf(error) })
    }
    return new Map(
      [...verdicts].map(([row, verdict]) => [
        row,
        'holds' in verdict && due.has(row) ? judgeOne(row, verdict.holds) : verdict,
      ]),
    )
  }

  return {
    /** Looks at validators. What a node that is away would have said is waited for; what one contradicts counts also then. */
    async look(rows: readonly ErasableRow[], signal: AbortSignal): Promise<ErasureLook> {
      const { said, silent } = await askNodes(rows.map(({ publicKey }) => publicKey))
      signal.throwIfAborted()
      const agreed = new Map(rows.map((row) => [row, ofNodes(row, said, silent)]))
      return summaryOf(await withDeposits(agreed, signal))
    },
  }
}
export type ErasureProof = ReturnType<typeof createErasureProof>

function summaryOf(verdicts: ReadonlyMap<ErasableRow, Verdict>): ErasureLook {
  const look: ErasureLook = { held: [], broken: [], isDepositGone: false, reasons: [] }
  const reasons = new Map<string, number>()
  for (const [row, verdict] of verdicts) {
    if ('holds' in verdict && row.depositBlock !== null) {
      const { id: validatorId, beaconIndex, oracleSetId, depositBlock } = row
      look.held.push({ validatorId, beaconIndex, oracleSetId, depositBlock, withdrawalCredentials: verdict.holds })
      continue
    }
    if (!('waits' in verdict)) look.broken.push(row.id)
    look.isDepositGone ||= row.depositBlock !== null && 'broken' in verdict && verdict.broken === NO_DEPOSIT
    const reason = 'waits' in verdict ? verdict.waits : 'broken' in verdict ? verdict.broken : NO_DEPOSIT
    reasons.set(reason, (reasons.get(reason) ?? 0) + 1)
  }
  look.reasons = [...reasons].map(([reason, validators]) => ({ reason, validators }))
  return look
}

function slicesOf(blocks: readonly number[]): number[][] {
  const count = Math.ceil(blocks.length / AT_ONCE)
  return Array.from({ length: count }, (_, position) => blocks.slice(position * AT_ONCE, (position + 1) * AT_ONCE))
}

const NOT_FINAL: Verdict = { waits: 'the block of its deposit is not final at the execution node' }
const NO_DEPOSIT = 'no validly signed deposit was found in final logs'

/** What the nodes make of a validator, all together. */
function ofNodes(row: ErasableRow, said: readonly Said[], silent: readonly string[]): Verdict {
  const key = toHex(row.publicKey)
  let credentials: string | undefined
  for (const { host, validators } of said) {
    const validator = validators.get(key)
    const broken = (what: string): Verdict => ({ broken: `the consensus node at ${host} has it ${what}` })
    if (validator === undefined) return broken('not in its finalized state')
    if (validator.index !== row.beaconIndex) return broken('at another index than was noted')
    credentials ??= validator.withdrawalCredentials
    if (validator.withdrawalCredentials !== credentials) return broken('with other withdrawal credentials than another')
  }
  if (credentials !== undefined) {
    const problem = ofChange(row, fromHex(credentials, 32))
    if (problem !== undefined) return { broken: problem }
  }
  const [waits = 'no consensus node answers'] = silent
  return credentials === undefined || silent.length > 0 ? { waits } : { holds: fromHex(credentials, 32) }
}

/** What has changed since the validator was noted, and since its clock began, in words. */
function ofChange({ vault, heldCredentials }: ErasableRow, credentials: Uint8Array): string | undefined {
  if (vault !== null && !equalBytes(credentials.subarray(12), vault)) return 'it has another vault than was noted'
  if (heldCredentials !== null && !mayHaveBecome(heldCredentials, credentials))
    return 'it has other withdrawal credentials than before'
  return undefined
}

function ofDeposit(deposit: ChainDeposit | undefined, credentials: Uint8Array): Verdict {
  if (deposit === undefined) return { broken: NO_DEPOSIT }
  return mayHaveBecome(deposit.withdrawalCredentials, credentials)
    ? { holds: credentials }
    : { broken: 'its deposit in final logs has other withdrawal credentials' }
}

/** Whether these credentials may be those now: the same, or of type 0x01 and switched to 0x02 since. */
function mayHaveBecome(before: Uint8Array, now: Uint8Array): boolean {
  const isType = before[0] === now[0] || (before[0] === 1 && now[0] === 2)
  return isType && equalBytes(before.subarray(1), now.subarray(1))
}
