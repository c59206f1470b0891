/**
 * A real charon, named by CHARON_BIN, hands in exits and deposits of a cluster, with the stand-in as its beacon node, until the validators
 * can be registered. Without one this is skipped:
 *
 *     CHARON_BIN=/usr/local/bin/charon npx vitest run test/integration/charon/charon-binary.test.ts
 */

import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import { fromHex, toHex } from '@dvt-relayer/common/hex.ts'
import { checksumAddress } from '@dvt-relayer/crypto/address.ts'
import { withdrawalCredentials } from '@dvt-relayer/crypto/messages/messages.ts'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { skipWithoutAnvil } from '../../support/chain/anvil.ts'
import { type FixtureNode, fixturePath, loadFixtureCluster } from '../../support/keys/fixtures.ts'
import { nextIndex, type RegisterRequest, registerUntilReady } from '../../support/operator/operator.ts'
import { ETH32, registerKeys } from '../../support/stages/registrations.ts'
import { getExits } from '../../support/world/nodes.ts'
import { startVaultWorld, type VaultWorld } from '../../support/world/vault-world.ts'

const charon = process.env['CHARON_BIN']
const cluster = loadFixtureCluster('cluster-4')
/** In a version that charon 1.10 reads too. */
const lockFile = fixturePath('obol/locks/lock-v1.10.0.json')
const vault = fromHex(cluster.expected.withdrawal_address, 20)

let world: VaultWorld
let relayer: Awaited<ReturnType<VaultWorld['startRelayer']>>
let request: RegisterRequest
let keys: string[]

/** Runs charon with the files of a node; returns how it ended and what it printed. */
async function run(node: FixtureNode, ...args: string[]): Promise<{ code: number; output: string }> {
  const files = [`--private-key-file=${node.enrKeyFile}`, `--lock-file=${lockFile}`]
  const own = [...files, `--publish-address=${relayer.url}`]
  try {
    const { stdout, stderr } = await promisify(execFile)(charon ?? '', [...args, ...own], { timeout: 300_000 })
    return { code: 0, output: stdout + stderr }
  } catch (error) {
    const { code, stdout, stderr } = error as { code: number; stdout: string; stderr: string }
    return { code, output: `${stdout}${stderr}` }
  }
}
const keysOf = (node: FixtureNode) => `--validator-keys-dir=${node.keystoresDir}`
const signExits = (node: FixtureNode, ...args: string[]) =>
  run(node, 'exit', 'sign', keysOf(node), `--beacon-node-endpoints=${relayer.url}/obol`, ...args)
const signDeposits = (node: FixtureNode, credentials: Uint8Array) =>
  run(
    node,
    ...['deposit', 'sign', keysOf(node), `--validator-public-keys=${keys.join(',')}`, '--deposit-amounts=32'],
    `--withdrawal-addresses=${toHex(credentials)}`,
  )
const nodeOf = (shareIndex: number) => cluster.nodes[shareIndex - 1] ?? expect.fail('no such node')

const isSkipped = charon === undefined || skipWithoutAnvil
beforeAll(async () => {
  if (isSkipped) return
  world = await startVaultWorld({ oracles: 3, threshold: 2 })
  await world.deployVault({ address: cluster.expected.withdrawal_address as `0x${string}` })
  relayer = await world.startRelayer({ CLUSTER_LOCK_FILES: lockFile, OBOL_API: 'on' })
  // The lock has deposits of type 0x01: these are the nodes' to sign.
  const amounts = [ETH32, ETH32]
  request = { vault: checksumAddress(vault), startIndex: nextIndex(world.beacon), amounts, type: '0x02' }
  keys = await registerKeys(relayer.url, request)
  expect(keys).toHaveLength(2)
})
afterAll(async () => {
  await relayer?.[Symbol.asyncDispose]()
  await world?.[Symbol.asyncDispose]()
})

describe.skipIf(isSkipped)('charon itself', { timeout: 900_000 }, () => {
  it('is told of its wrong epoch, and which is right', async () => {
    const { code, output } = await signExits(nodeOf(1), '--all', '--exit-epoch=194048')
    expect(code, output).toBe(1)
    expect(output).toContain('--exit-epoch=0')
  })

  it('hands in all exits of its node, and again; one of another node by itself', async () => {
    for (const shareIndex of [1, 1, 2]) {
      const { code, output } = await signExits(nodeOf(shareIndex), '--all', '--exit-epoch=0')
      expect(code, output).toBe(0)
    }
    for (const key of keys) {
      const { code, output } = await signExits(nodeOf(3), `--validator-public-key=${key}`, '--exit-epoch=0')
      expect(code, output).toBe(0)
    }
    for (const { share_indexes_ready } of await getExits(relayer.url)) expect(share_indexes_ready).toEqual([1, 2, 3])
  })

  it('is told of credentials that are not asked for, and which are', async () => {
    const { code, output } = await signDeposits(nodeOf(1), withdrawalCredentials('0x01', vault))
    expect(code, output).toBe(1)
    expect(output).toContain(toHex(withdrawalCredentials('0x02', vault)))
  })

  it('hands in deposits, and the validators can be registered', async () => {
    for (const shareIndex of [1, 2, 3]) {
      const { code, output } = await signDeposits(nodeOf(shareIndex), withdrawalCredentials('0x02', vault))
      expect(code, output).toBe(0)
    }
    const { validators } = await registerUntilReady(relayer.url, request)
    expect(validators.map(({ public_key }) => public_key)).toEqual(keys)
  })

  it('fetches no exit', async () => {
    const { code, output } = await run(
      nodeOf(1),
      ...['exit', 'fetch', `--beacon-node-endpoints=${relayer.url}/obol`, `--validator-public-key=${keys[0]}`],
    )
    expect(code, output).toBe(1)
    expect(output).toContain('no value for the given validator public key')
  })

  it('finds nothing to sign for a node whose validators nobody asks for, and ends well', async () => {
    await world.query(`update messages set state = 'expired' where state in ('collecting', 'ready')`)
    const { code, output } = await signExits(nodeOf(4), '--all', '--exit-epoch=0')
    expect(code, output).toBe(0)
  })
})
