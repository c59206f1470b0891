/** SSV from end to end: sidecars that find their key shares, a relayer, and oracles that decrypt and could exit. */

import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { SidecarConfig } from '../../../../apps/sidecar/src/config.ts'
import { startSidecar } from '../../../../apps/sidecar/src/sidecar.ts'
import { fromHex, toHex } from '../../../../libs/common/src/hex.ts'
import { silentLogger } from '../../../../libs/common/src/log/logger.ts'
import { skipWithoutAnvil } from '../../../support/chain/anvil.ts'
import {
  keysharesJson,
  loadSsvCluster,
  makeOperators,
  makeSsvValidators,
  operatorAddedLog,
  SSV_CONTRACT,
  ssvPath,
  validatorAddedLog,
  writePlainKeys,
} from '../../../support/keys/ssv.ts'
import { nextIndex, registerOnChain, registerUntilReady } from '../../../support/operator/operator.ts'
import { ETH32, openStage } from '../../../support/stages/registrations.ts'
import { assertOraclesCanExit, getExits, postValidators, untilShares } from '../../../support/world/nodes.ts'
import { startVaultWorld, type VaultWorld } from '../../../support/world/vault-world.ts'
import { chainConfig, LIVE, ssvConfig, startSsvNode } from './ssv-support.ts'

let world: VaultWorld
let dir = ''
/** The world's network, with the SSV contract of the fixtures. */
let network = ''
beforeAll(async () => {
  if (skipWithoutAnvil) return
  dir = await mkdtemp(join(tmpdir(), 'sidecar-ssv-oracles-'))
  world = await startVaultWorld({ oracles: 4, threshold: 2 })
  const file = JSON.parse(await readFile(world.networkFile, 'utf8')) as object
  network = join(dir, 'network.json')
  await writeFile(network, JSON.stringify({ ...file, ssv_network: SSV_CONTRACT, ssv_network_block: 1_065 }))
  await writePlainKeys(dir, [5, 128, 263, 280, 281, 282, 1402, 70001])
})
afterAll(async () => {
  await world?.[Symbol.asyncDispose]()
  await rm(dir, { recursive: true, force: true })
})

const keyFile = (operator: number) => join(dir, `key-${operator}`)

/** Starts these sidecars; they end with the stack. */
async function startAll(stack: AsyncDisposableStack, configs: readonly SidecarConfig[]): Promise<void> {
  for (const config of configs) stack.use(await startSidecar(config, { logger: silentLogger }))
}

/** Asks for exits as an operator does, and checks what the oracles get. */
async function exitAll(url: string, publicKeys: readonly string[]): Promise<void> {
  await postValidators(url, publicKeys)
  const answer = await untilShares(url, publicKeys)
  const indexes = new Map((await getExits(url)).map((exit) => [exit.public_key, exit.validator_index]))
  for (const { public_key, oracles_exit_signature_shares } of answer.validators)
    await assertOraclesCanExit(
      world.network,
      world.oracles,
      2,
      fromHex(public_key),
      indexes.get(public_key) ?? -1,
      oracles_exit_signature_shares,
    )
}

describe.skipIf(skipWithoutAnvil)('exits of SSV validators', () => {
  it.each([3, 5])('of the fixture’s chain reach the oracles (threshold %i)', async (threshold) => {
    const clusters = (['cluster-4', ...LIVE] as const).map((name) => loadSsvCluster(name))
    const mine = clusters.filter((cluster) => cluster.threshold === threshold)
    // The first validator of cluster-4 is live among other operators: it is listed twice and counts once.
    const keys = [...new Set(mine.flatMap(({ validators }) => validators.map(({ public_key }) => public_key)))]
    const stage = await openStage(world)
    const { url } = await stage.startRelayer({ SIGNATURE_THRESHOLD: String(threshold) })
    await using node = await startSsvNode({ chainId: world.network.chainId })
    await using sidecars = new AsyncDisposableStack()
    const operators = threshold === 3 ? [263, 281, 282, 128, 1402, 70001] : [5, 263, 280, 282, 1402]
    await startAll(
      sidecars,
      operators.map((operator) =>
        chainConfig(url, [node], operator, join(dir, `state-${threshold}-${operator}`), {
          SSV_OPERATOR_KEY_FILE: keyFile(operator),
          SSV_OPERATOR_PASSWORD_FILE: '',
          NETWORK: network,
          GENERATION: '3',
        }),
      ),
    )
    await exitAll(url, keys)
  })

  it('of keyshares files reach the oracles', async () => {
    const stage = await openStage(world)
    const { url } = await stage.startRelayer({ SIGNATURE_THRESHOLD: '3' })
    await using sidecars = new AsyncDisposableStack()
    const files = (['cluster-4', 'cluster-4-dkg', 'cluster-4-gaps'] as const).map((name) =>
      ssvPath(`${name}/keyshares.json`),
    )
    const more = { SSV_KEYSHARES_FILES: files.join(), NETWORK: network, GENERATION: '3' }
    await startAll(
      sidecars,
      [263, 280, 281, 5, 1402, 70001].map((operator) =>
        ssvConfig(url, { SSV_OPERATOR_KEY_FILE: keyFile(operator), ...more }),
      ),
    )
    const keys = (['cluster-4', 'cluster-4-dkg', 'cluster-4-gaps'] as const).flatMap((name) =>
      loadSsvCluster(name).validators.map(({ public_key }) => public_key),
    )
    await exitAll(url, keys)
  })

  it('and their deposits: operator ids near 2^53, from chain and file, to a registration', async () => {
    const most = Number.MAX_SAFE_INTEGER
    const operators = makeOperators([1, 2 ** 32, most - 1, most])
    const validators = makeSsvValidators(2, operators, { owner: `0x${'b1'.repeat(20)}` })
    for (const { id, keyFile: text } of operators) await writeFile(keyFile(id), text)
    const file = join(dir, 'keyshares.json')
    await writeFile(file, keysharesJson(validators))
    const list = join(dir, 'keys.csv')
    await writeFile(list, validators.map(({ publicKey }) => toHex(publicKey)).join('\n'))
    await using node = await startSsvNode({
      chainId: world.network.chainId,
      logs: [
        ...operators.map((operator, position) => operatorAddedLog(operator, 2_000, position)),
        ...validators.map((validator, position) => validatorAddedLog(validator, 3_000, position)),
      ],
    })
    const vault = await world.deployVault()
    const stage = await openStage(world)
    const { url } = await stage.startRelayer({ SIGNATURE_THRESHOLD: '3', PUBLIC_KEYS_FILE: list })
    const common = (id: number) => ({
      SSV_OPERATOR_KEY_FILE: keyFile(id),
      NETWORK: network,
      ALLOWED_VAULTS: vault.address,
      JOURNAL_FILE: join(dir, `journal-${id}`),
    })
    await using sidecars = new AsyncDisposableStack()
    await startAll(sidecars, [
      ssvConfig(url, { ...common(1), SSV_KEYSHARES_FILES: file }),
      ...[most - 1, most].map((id) =>
        ssvConfig(url, { ...common(id), EXECUTION_ENDPOINT: node.url, SSV_STATE_FILE: join(dir, `state-${id}`) }),
      ),
    ])
    const request = {
      vault: vault.address,
      startIndex: nextIndex(world.beacon),
      amounts: [ETH32, ETH32],
      type: '0x01',
    } as const
    const answer = await registerUntilReady(url, request)
    for (const [position, { publicKey }] of validators.entries())
      await assertOraclesCanExit(
        world.network,
        world.oracles,
        2,
        publicKey,
        request.startIndex + position,
        answer.validators[position]?.oracles_exit_signature_shares ?? null,
      )
    expect(await registerOnChain(vault, '0x01', answer)).toMatchObject({ ok: true })
  })
})
