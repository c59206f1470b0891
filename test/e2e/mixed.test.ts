/**
 * One cluster, four kinds of nodes: node 1 has our sidecar and shows charon's key, node 2 an existing one and a token, node 3 nothing but charon, node 4 does nothing. Three
 * of them are enough, and the vault registers.
 */

import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { fromHex } from '@dvt-relayer/common/hex.ts'
import { withTimeout } from '@dvt-relayer/common/process/lifetime.ts'
import { withdrawalCredentials } from '@dvt-relayer/crypto/messages/messages.ts'
import { expect, onTestFinished, test } from 'vitest'
import { createToken } from '../../apps/relayer/src/http/auth/tokens.ts'
import { findFreePorts } from '../demo/ports.ts'
import { findLeaks } from '../demo/secrets/secrets.ts'
import { PATIENCE_MS } from '../demo/wait.ts'
import { skipWithoutAnvil } from '../support/chain/anvil.ts'
import { makeCluster } from '../support/keys/make-cluster.ts'
import { createExistingSidecar } from '../support/operator/existing-clients.ts'
import { nextIndex, registerOnChain } from '../support/operator/operator.ts'
import { untilAnswered, untilComplete } from '../support/operator/patient-operator.ts'
import { startProcess } from '../support/services/process.ts'
import { charonNode, depositBlob, exitSignAll, postDeposits } from '../support/world/charon.ts'
import { getValidators } from '../support/world/nodes.ts'
import { assertRegistered } from '../support/world/registration-steps.ts'
import { startVaultWorld } from '../support/world/vault-world.ts'
import { ask, eventually, hex } from '../support/world/world.ts'

const ETH = 1_000_000_000

test.skipIf(skipWithoutAnvil)(
  'a sidecar of ours, an existing one, charon alone and a node that is down register validators together',
  { timeout: 300_000 },
  async () => {
    await using world = await startVaultWorld()
    const { network, beacon } = world
    const vault = await world.deployVault()
    const cluster = await makeCluster({
      ...{ dir: join(world.dir, 'mixed'), nodes: 4, threshold: 3, validators: 2, network, name: 'mixed' },
      withdrawalAddress: fromHex(vault.address, 20),
      feeRecipient: fromHex(vault.address, 20),
    })
    const [ofOperator, ofNode2, ofAdmin] = [
      createToken('operator', 'operator', vault.address),
      createToken('node-2', 'sidecar', '2'),
      createToken('admin', 'admin', '*'),
    ]
    const tokensFile = join(world.dir, 'tokens')
    const lockHash = hex(cluster.lock.lockHash)
    await writeFile(
      tokensFile,
      [...[ofOperator, ofNode2, ofAdmin].map(({ line }) => line), `nodes ${lockHash}`].join('\n'),
    )
    const [port = 0] = await findFreePorts(1)
    const bare = `http://127.0.0.1:${port}`
    const urlOf = ({ token }: { token: string }) => `http://me:${token}@127.0.0.1:${port}`
    const relayer = startProcess(
      'relayer',
      world.environment({
        RELAYER_PORT: String(port),
        AUTH_TOKENS_FILE: tokensFile,
        CLUSTER_LOCK_FILES: cluster.lockFile,
        CLUSTER_LOCK_HASHES: lockHash,
        PUBLIC_URL: bare,
        VAULTS: vault.address,
        OBOL_API: 'on',
        LOG_LEVEL: 'debug',
      }),
    )
    onTestFinished(() => relayer[Symbol.asyncDispose]())
    await withTimeout(relayer.logged('relayer started'), PATIENCE_MS)

    const amounts = [32 * ETH, 32 * ETH]
    const request = { vault: vault.address, startIndex: nextIndex(beacon), amounts, type: '0x01' as const }
    const { validators } = await untilAnswered(urlOf(ofOperator), request)
    const keys = validators.map(({ public_key }) => public_key)
    expect(keys.toSorted()).toEqual(cluster.validators.map(({ publicKey }) => hex(publicKey)).toSorted())

    const [files1, , files3] = cluster.nodes
    if (files1 === undefined || files3 === undefined) throw new Error('no files')
    const sidecar = startProcess('sidecar', {
      NETWORK: world.networkFile,
      RELAYER_ENDPOINT: bare,
      OBOL_ENR_KEY_FILE: files1.enrKeyFile,
      OBOL_KEYSTORES_DIR: files1.keystoresDir,
      OBOL_CLUSTER_LOCK_FILE: files1.lockFile,
      JOURNAL_FILE: join(files1.dir, 'deposits.journal'),
    })
    onTestFinished(() => sidecar[Symbol.asyncDispose]())
    const existing = createExistingSidecar('2.1', {
      ...{ url: urlOf(ofNode2), network, validators: cluster.validators, shareIndex: 2 },
    })
    expect(await existing.round()).toBe(200)

    const charon = charonNode(files3, 3, cluster.validators)
    const deposit = {
      credentials: withdrawalCredentials('0x01', fromHex(vault.address, 20)),
      amountGwei: BigInt(32 * ETH),
    }
    const deposits = keys.map((key) => depositBlob(charon, key, network, deposit))
    expect(await postDeposits(bare, charon, deposits)).toMatchObject({ status: 201 })
    expect(await exitSignAll(bare, charon, network.capellaEpoch)).toMatchObject({ status: 201 })

    const answer = await untilComplete(urlOf(ofOperator), request)
    const asAdmin = { authorization: `Bearer ${ofAdmin.token}` }
    await eventually('the signatures of three nodes', async () => {
      const items = await getValidators(bare, asAdmin)
      return items.every(({ share_indexes_ready: ready }) => ready.join() === '1,2,3') ? true : undefined
    })
    expect(await registerOnChain(vault, request.type, answer)).toMatchObject({ ok: true })
    await world.beaconFollows.sync()
    await assertRegistered(world, vault, request, answer)

    // charon shows no token: nothing else is open to it.
    expect(await ask(bare, '/exits')).toMatchObject({ status: 401 })
    expect(await withTimeout(relayer.end('SIGTERM'), PATIENCE_MS)).toBe(0)
    const secrets = [
      ...deposits.map(({ signature }) => ({ kind: 'partial deposit signature', value: fromHex(signature, 96) })),
      { kind: 'ENR key', value: charon.enrKey },
    ]
    expect(findLeaks(new Map([['relayer', relayer.output()]]), secrets)).toEqual([])
  },
)
