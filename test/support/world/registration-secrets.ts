/** Every secret of a registration from end to end, gathered where it lies: what must not stand in any log. */

import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Network } from '@dvt-relayer/chain/networks.ts'
import { fromHex } from '@dvt-relayer/common/hex.ts'
import { depositSigningRoot, exitSigningRoot, withdrawalCredentials } from '@dvt-relayer/crypto/messages/messages.ts'
import type { Secret } from '../../demo/secrets/secrets.ts'
import type { TestOracle } from '../chain/oracles.ts'
import { readPasswords } from '../keys/fixture-shares.ts'
import type { FixtureCluster } from '../keys/fixtures.ts'
import type { ManagerWallet } from '../keys/manager-wallet.ts'
import { engine, type KeyedValidator } from './nodes.ts'

/** What was signed for one validator. */
export interface SignedRegistration {
  validator: KeyedValidator
  vault: string
  type: '0x01' | '0x02'
  amountGwei: number
  /** Every index it had an exit for. */
  validatorIndexes: readonly number[]
}

/**
 * Gathers them. Full deposit signatures are no secret: they go on chain.
 *
 * @throws when a kind has none: a search for nothing would always end well
 */
export async function gatherSecrets(run: {
  network: Network
  cluster: FixtureCluster
  registrations: readonly SignedRegistration[]
  manager: ManagerWallet
  oracles: readonly TestOracle[]
  /** What the oracles decrypted. */
  oracleShares: readonly Uint8Array[]
  /** The relayer's, with its own PostgreSQL. */
  dataDir: string
  /** What the hostile node made up. */
  madeUp: readonly string[]
}): Promise<Secret[]> {
  const { network, cluster, registrations, manager, dataDir } = run
  const roots = registrations.map(({ validator, vault, type, amountGwei, validatorIndexes }) => ({
    validator,
    exits: validatorIndexes.map((validatorIndex) =>
      exitSigningRoot(network, { epoch: network.capellaEpoch, validatorIndex }),
    ),
    deposit: depositSigningRoot(network, {
      publicKey: validator.publicKey,
      withdrawalCredentials: withdrawalCredentials(type, fromHex(vault, 20)),
      amountGwei: BigInt(amountGwei),
    }),
  }))
  const connection = JSON.parse(readFileSync(join(dataDir, 'postgres', 'connection.json'), 'utf8'))
  const kinds: Record<string, readonly (Uint8Array | string)[]> = {
    'validator secret key': registrations.map(({ validator }) => validator.secretKey),
    'key share': registrations.flatMap(({ validator }) => validator.shares.map(({ secretKey }) => secretKey)),
    'keystore password': (await Promise.all(cluster.nodes.map((node) => readPasswords(node.keystoresDir)))).flat(),
    'partial signature': roots.flatMap(({ validator, exits, deposit }) =>
      validator.shares.flatMap(({ secretKey }) => [...exits, deposit].map((root) => engine.sign(secretKey, root))),
    ),
    'exit signature': roots.flatMap(({ validator, exits }) =>
      exits.map((root) => engine.sign(validator.secretKey, root)),
    ),
    'made-up signature': run.madeUp.map((line) => fromHex(line, 96)),
    'manager key': [fromHex(manager.privateKey, 32)],
    'manager password': [readFileSync(manager.passwordFile, 'utf8').trim()],
    'oracle secret key': run.oracles.map(({ secretKey }) => secretKey),
    'decrypted oracle share': run.oracleShares,
    'sealing key': [fromHex(readFileSync(join(dataDir, 'sealing.key'), 'utf8').trim(), 32)],
    'database password': [String(connection.password)],
  }
  return Object.entries(kinds).flatMap(([kind, values]) => {
    if (values.length === 0 || values.some((value) => value.length < 16)) throw new Error(`no ${kind} to search for`)
    return values.map((value) => ({ kind, value }))
  })
}
