/** The validators-manager key, its password and its signatures: in no log, error or metric, whatever happens; and what a boot says of them. */

import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { fromHex } from '@dvt-relayer/common/hex.ts'
import { createLogger } from '@dvt-relayer/common/log/logger.ts'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { skipWithoutAnvil } from '../../support/chain/anvil.ts'
import { makeCluster } from '../../support/keys/make-cluster.ts'
import * as operator from '../../support/operator/operator.ts'
import { startProcess } from '../../support/services/process.ts'
import { addRegistered, amountsBody, ETH, pairsBody, post, query, settings } from '../../support/stages/manager.ts'
import { sidecar2Round } from '../../support/world/nodes.ts'
import { startVaultWorld, type VaultWorld } from '../../support/world/vault-world.ts'
import { ask } from '../../support/world/world.ts'

let world: VaultWorld
let password: string
beforeAll(async () => {
  if (skipWithoutAnvil) return
  world = await startVaultWorld({ oracles: 3, threshold: 2, validators: 20 })
  password = (await readFile(world.manager.passwordFile, 'utf8')).trim()
})
afterAll(() => world?.[Symbol.asyncDispose]())

/** The forms in which a secret could come out. */
function formsOf(secret: Uint8Array): string[] {
  const bytes = Buffer.from(secret)
  const number = BigInt(`0x${bytes.toString('hex')}`)
  return [bytes.toString('hex'), bytes.toString('base64').replace(/=+$/, ''), String(number), [...bytes].join(',')]
}

it.skipIf(skipWithoutAnvil)('a session of every action, refusals and failures included, tells nobody', async () => {
  const vault = await world.deployVault()
  const cluster = await makeCluster({
    dir: join(world.dir, 'cluster'),
    nodes: 3,
    threshold: 2,
    validators: 1,
    network: world.network,
    withdrawalAddress: fromHex(vault.address, 20),
    feeRecipient: fromHex(vault.address, 20),
  })
  const lines: string[] = []
  const logger = createLogger({ level: 'debug', format: 'json', destination: { write: (line) => lines.push(line) } })
  logger.level = 'trace'
  await using relayer = await world.startRelayer(
    {
      CLUSTER_LOCK_FILES: cluster.lockFile,
      MANAGER_DAILY_LIMIT_GWEI: String(70 * ETH),
      EXECUTION_RETRY_TIMEOUT: '1',
      CONSENSUS_RETRY_TIMEOUT: '1',
    },
    { logger },
  )
  const { url } = relayer
  const [a, b] = [await addRegistered(world, vault), await addRegistered(world, vault)]
  const bodies = [
    ['/fund', amountsBody(vault.address, [[a, ETH]])],
    ['/withdraw', amountsBody(vault.address, [[a, 0]])],
    ['/consolidate', pairsBody(vault.address, [[a, b]])],
  ] as const
  const signatures: string[] = []
  for (const [path, body] of bodies) {
    const answer = await post(url, path, body)
    signatures.push((answer.json as { validators_manager_signature: string }).validators_manager_signature)
  }
  const request = {
    vault: vault.address,
    startIndex: operator.nextIndex(world.beacon),
    amounts: [32 * ETH],
    type: '0x01' as const,
  }
  await operator.register(url, request)
  for (const shareIndex of [1, 2]) await sidecar2Round(url, world.network, cluster.validators, shareIndex)
  const registered = await operator.registerUntilReady(url, request)
  signatures.push(registered.validators_manager_signature ?? '')

  const refusals = [await post(url, '/withdraw', amountsBody(vault.address, [[b, 60 * ETH]]))]
  const refuseAll = async () => {
    for (const [path, body] of bodies) refusals.push(await post(url, path, body))
  }
  const other = `0x${'11'.repeat(20)}`
  for (const [path, body] of bodies)
    refusals.push(await post(url, path, { ...body, vault: other }), await post(url, path, 'x'))
  world.beacon.fail('garbage')
  await refuseAll()
  world.beacon.fail(undefined)
  await query(world, 'alter table manager_signatures rename to gone')
  await refuseAll()
  await query(world, 'alter table gone rename to manager_signatures')
  expect(refusals.map(({ status }) => status)).toEqual([
    429,
    ...Array(6).fill(422),
    ...Array(3).fill(503),
    ...Array(3).fill(500),
  ])

  const { text: metrics } = await ask(url, '/metrics')
  for (const action of ['register', 'fund', 'withdraw', 'consolidate'])
    expect(metrics).toMatch(new RegExp(`dvt_relayer_manager_signatures_total\\{action="${action}"\\} 1\n`))
  const said = [...lines, metrics, ...refusals.map(({ text }) => text)].join('\n')
  expect(said).toContain('"msg":"signed for a vault"')
  expect(said).toContain('"msg":"request failed"')
  const secrets = [
    ...formsOf(fromHex(world.manager.privateKey)),
    password,
    ...signatures.flatMap((signature) => formsOf(fromHex(signature, 65))),
    ...formsOf(fromHex(registered.validators[0]?.deposit_signature ?? '', 96)),
  ]
  expect(secrets.filter((secret) => said.toLowerCase().includes(secret.toLowerCase()))).toEqual([])
})

describe.skipIf(skipWithoutAnvil)('a boot', () => {
  it('with a wallet that signs for any vault warns', async () => {
    const lines: string[] = []
    const logger = createLogger({ level: 'debug', format: 'json', destination: { write: (line) => lines.push(line) } })
    const warnings = () => lines.splice(0).filter((line) => line.includes('VAULTS is not set'))
    await using _ = await world.startRelayer(settings, { logger })
    expect(warnings()).toEqual([expect.stringContaining('"level":"warn"')])
    await using _fenced = await world.startRelayer({ ...settings, VAULTS: `0x${'11'.repeat(20)}` }, { logger })
    const without = { VALIDATORS_MANAGER_KEY_FILE: '', VALIDATORS_MANAGER_PASSWORD_FILE: '' }
    await using _without = await world.startRelayer({ ...settings, ...without }, { logger })
    expect(warnings()).toEqual([])
  })

  it('without tokens is no start, unless it is said that there are none', async () => {
    const environment = world.environment({ ...settings, WALLETS_WITHOUT_TOKENS: '' })
    await using child = startProcess('relayer', environment)
    expect(await child.ended).toBe(1)
    expect(child.output()).toContain('VALIDATORS_MANAGER_KEY_FILE needs AUTH_TOKENS_FILE')
    expect(child.output()).toContain('WALLETS_WITHOUT_TOKENS=loopback')
    const lines: string[] = []
    const logger = createLogger({ level: 'warn', format: 'json', destination: { write: (line) => lines.push(line) } })
    await using _ = await world.startRelayer(settings, { logger })
    expect(lines.filter((line) => line.includes('WALLETS_WITHOUT_TOKENS=loopback'))).toHaveLength(1)
  })

  it.each(['VALIDATORS_MANAGER_KEY_FILE', 'VALIDATORS_MANAGER_PASSWORD_FILE'])(
    'with %s alone is refused',
    async (name) => {
      const started = world.startRelayer({ ...settings, [name]: '' })
      await expect(started).rejects.toThrow(
        'VALIDATORS_MANAGER_KEY_FILE and VALIDATORS_MANAGER_PASSWORD_FILE go together: set both, or neither',
      )
    },
  )

  it('with a wrong password ends the process with 1 and says which files, and nothing of what is in them', async () => {
    const wrong = join(world.dir, 'wrong-password.txt')
    await writeFile(wrong, 'canary-password\n')
    const environment = world.environment({ ...settings, VALIDATORS_MANAGER_PASSWORD_FILE: wrong, LOG_LEVEL: 'debug' })
    await using child = startProcess('relayer', environment)
    expect(await child.ended).toBe(1)
    expect(child.output()).toContain(
      `VALIDATORS_MANAGER_KEY_FILE ${world.manager.keyFile} cannot be opened with VALIDATORS_MANAGER_PASSWORD_FILE ${wrong}: keystore: the MAC does not fit`,
    )
    const { crypto } = JSON.parse(await readFile(world.manager.keyFile, 'utf8')) as {
      crypto: { ciphertext: string; mac: string }
    }
    for (const secret of ['canary', crypto.ciphertext, crypto.mac, ...formsOf(fromHex(world.manager.privateKey))])
      expect(child.output()).not.toContain(secret)
  })
})
