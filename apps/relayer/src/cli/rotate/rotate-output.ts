/** What `npm run relayer -- rotate` prints, with the exit code that goes with it. */

import type { ExecutionClient } from '@dvt-relayer/chain/execution/execution.ts'
import { findReceipt } from '@dvt-relayer/chain/execution/transaction.ts'
import { toHex } from '@dvt-relayer/common/hex.ts'
import { pause } from '@dvt-relayer/common/process/lifetime.ts'
import { checksumAddress } from '@dvt-relayer/crypto/address.ts'
import type { RotationExit } from '../../services/rotation/exits.ts'
import type { RotationPlan } from '../../services/rotation/rotation.ts'
import { describeStep, type Step, type Update } from '../../services/rotation/steps.ts'

/** A transaction is looked for until it cannot be mined any more, and a little longer. */
const MINED_MS = 300_000
const LOOK_MS = 1_000

const IN_WORDS: Readonly<Record<RotationExit['state'], string>> = {
  ready: 'its exit is split for these oracles',
  kept: 'its exit is kept, and would be split',
  collecting: 'its exit would be collected from the sidecars',
}

/** Says what would be done. */
export function printPlan(vault: Uint8Array, { step, batch, leftOut }: RotationPlan): number {
  console.log(`vault ${checksumAddress(vault)}, nothing is changed`)
  if (step !== undefined) {
    console.log(describeStep(step))
    return step.step === 'nothing' || step.step === 'sent' || step.step === 'open' ? 0 : 1
  }
  console.log(`${batch.length} validators would be handed in with the next update:`)
  for (const { publicKey, validatorIndex, state } of batch)
    console.log(`  ${validatorIndex} ${toHex(publicKey)}: ${IN_WORDS[state]}`)
  if (leftOut > 0)
    console.log(`${leftOut} more that the oracles name are left out: they are not ours, not active, or not final`)
  return 0
}

/** Prints the transaction of an approved update, as JSON. */
export function printUpdate(keeper: Uint8Array, { data, deadline, nonce, ipfsHash, validators }: Update): number {
  const to = checksumAddress(keeper)
  const keys = validators.map(({ publicKey, validatorIndex }) => ({
    public_key: toHex(publicKey),
    validator_index: validatorIndex,
  }))
  console.log(JSON.stringify({ to, data, deadline, nonce, validators: keys, ipfs_hash: ipfsHash }, undefined, 2))
  return 0
}

/** Says where a vault stands that can be taken no further now. */
export function printStep(step: Step): number {
  console.log(describeStep(step))
  if (step.step === 'collecting')
    console.log('sidecars post to a running relayer: let one run with this database, and run this again')
  return step.step === 'nothing' || step.step === 'sent' ? 0 : 1
}

/** Waits until a transaction is in a block, and says so. */
export async function followTransaction(
  execution: ExecutionClient,
  hash: Uint8Array,
  signal: AbortSignal,
): Promise<number> {
  console.log(`transaction ${toHex(hash)} is sent`)
  const end = performance.now() + MINED_MS
  while (performance.now() < end && !signal.aborted) {
    const receipt = await findReceipt(execution, hash, signal)
    if (receipt !== undefined) {
      console.log(
        receipt.ok
          ? `it is in block ${receipt.blockNumber}; once that is final, a running relayer or the next run of this command notes it`
          : `it was refused in block ${receipt.blockNumber}; run this again`,
      )
      return receipt.ok ? 0 : 1
    }
    await pause(LOOK_MS, signal)
  }
  console.log('it is in no block yet; run this again, which sends it again or makes a new one')
  return 1
}
