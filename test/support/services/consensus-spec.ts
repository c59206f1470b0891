/** The executable consensus specification as a judge: what it takes, every client of the network takes. */

import { spawnSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { Network } from '../../../libs/chain/src/networks.ts'
import { toHex } from '../../../libs/common/src/hex.ts'

const ROOT = fileURLToPath(new URL('../../..', import.meta.url))
const JUDGE = join(ROOT, 'test/integration/consensus-spec/judge.py')
/** A judgement of some dozen messages takes two seconds. */
const PATIENCE_MS = 300_000

const python = (): string => join(process.env['CONSENSUS_SPEC_DIR'] ?? join(ROOT, '.consensus-spec'), 'bin', 'python')

/**
 * Whether the specification is here. Without it tests are skipped on a laptop (`test/integration/consensus-spec/install.sh` brings it);
 * on CI it must be here.
 */
export function hasConsensusSpec(): boolean {
  const found = existsSync(python())
  if (!found && process.env['CI'] === 'true') throw new Error(`${python()} is missing: CI installs it`)
  return found
}

export interface SignedExit {
  publicKey: Uint8Array
  validatorIndex: number
  epoch: number
  signature: Uint8Array
}
export interface SignedDeposit {
  publicKey: Uint8Array
  withdrawalCredentials: Uint8Array
  amountGwei: bigint
  signature: Uint8Array
  dataRoot: Uint8Array
}

/** By fork, for each message in order: null where it is taken, or why it is not. */
export type Judgement = Record<string, { exits: (string | null)[]; deposits: (string | null)[] }>

/** Has all messages judged under the rules of every fork from Capella on. @throws when the judge itself fails */
export function judge(
  network: Network,
  { exits = [], deposits = [] }: { exits?: readonly SignedExit[]; deposits?: readonly SignedDeposit[] },
): Judgement {
  const asked = {
    network: {
      genesis_fork_version: toHex(network.genesisForkVersion),
      capella_fork_version: toHex(network.capellaForkVersion),
      capella_epoch: network.capellaEpoch,
      genesis_validators_root: toHex(network.genesisValidatorsRoot),
    },
    exits: exits.map(({ publicKey, validatorIndex, epoch, signature }) => ({
      public_key: toHex(publicKey),
      validator_index: validatorIndex,
      epoch,
      signature: toHex(signature),
    })),
    deposits: deposits.map(({ publicKey, withdrawalCredentials, amountGwei, signature, dataRoot }) => ({
      public_key: toHex(publicKey),
      withdrawal_credentials: toHex(withdrawalCredentials),
      amount: Number(amountGwei),
      signature: toHex(signature),
      data_root: toHex(dataRoot),
    })),
  }
  const { status, stdout, stderr, error } = spawnSync(python(), [JUDGE], {
    input: JSON.stringify(asked),
    encoding: 'utf8',
    timeout: PATIENCE_MS,
    maxBuffer: 16 * 1024 * 1024,
  })
  if (status !== 0) throw new Error(`the judge failed: ${stderr || error?.message}`)
  return JSON.parse(stdout) as Judgement
}
