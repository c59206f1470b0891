import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { secp256k1 } from '@noble/curves/secp256k1.js'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { createBlstEngine } from '../../../libs/crypto/src/bls/blst.ts'
import { parseClusterLock } from '../../../libs/crypto/src/cluster-lock/cluster-lock.ts'
import { enrPublicKey } from '../../../libs/crypto/src/cluster-lock/enr.ts'
import { verifyClusterLock } from '../../../libs/crypto/src/cluster-lock/lock-verify.ts'
import { decryptKeystore } from '../../../libs/crypto/src/keystores/eip2335.ts'
import { FIXTURE_CLUSTERS, GENESIS_FORK_VERSIONS, loadFixtureCluster } from './fixtures.ts'
import { lockToJson } from './lock-to-json.ts'
import { type ClusterOptions, makeCluster } from './make-cluster.ts'

const engine = createBlstEngine()
const network = { genesisForkVersion: GENESIS_FORK_VERSIONS.hoodi, name: 'hoodi' }
const verify = (text: string) =>
  verifyClusterLock(engine, parseClusterLock(text, { file: 'lock' }), {
    ...network,
    networkName: 'hoodi',
    file: 'lock',
  })

let dir = ''
beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), 'make-cluster-'))
})
afterAll(() => rm(dir, { recursive: true, force: true }))

const options = (name: string, nodes: number, threshold: number, validators: number): ClusterOptions => ({
  dir: join(dir, name),
  nodes,
  threshold,
  validators,
  network,
  withdrawalAddress: new Uint8Array(20).fill(7),
  feeRecipient: new Uint8Array(20).fill(9),
  name,
})

describe('makeCluster', () => {
  it('leaves what charon leaves: keystores of the right shares, node keys, one lock', async () => {
    const cluster = await makeCluster(options('four', 4, 3, 3))
    const lockText = await readFile(cluster.lockFile, 'utf8')
    expect(verify(lockText)).toEqual({ warnings: [] })
    expect(parseClusterLock(lockText, { file: 'lock' })).toEqual(cluster.lock)
    const real = loadFixtureCluster('cluster-4')
    for (const [node, made] of cluster.nodes.entries()) {
      expect(await readFile(made.lockFile, 'utf8')).toBe(lockText)
      const [realNode] = real.nodes
      const names = async (path: string) => (await readdir(path)).filter((name) => !name.startsWith('deposit-data'))
      expect(await names(made.dir)).toEqual(await names(realNode?.dir ?? ''))
      const enrKey = Buffer.from(await readFile(made.enrKeyFile, 'utf8'), 'hex')
      expect(enrPublicKey(cluster.lock.operators[node]?.enr ?? '')).toEqual(secp256k1.getPublicKey(enrKey, true))
      for (const [position, { shares }] of cluster.validators.entries()) {
        const file = `${made.keystoresDir}/keystore-insecure-${position}`
        const secret = await decryptKeystore(await readFile(`${file}.json`, 'utf8'), await readFile(`${file}.txt`))
        expect(secret).toEqual(shares[node]?.secretKey)
        expect(shares[node]?.index).toBe(BigInt(node + 1))
        expect(engine.publicKeyOf(secret)).toEqual(cluster.lock.validators[position]?.publicKeyShares[node])
      }
    }
  })

  it.each([
    [1, 1],
    [3, 1],
    [3, 2],
    [4, 4],
    [7, 5],
    [13, 9],
  ])('makes valid locks of %i nodes with threshold %i', async (nodes, threshold) => {
    const { lockFile } = await makeCluster(options(`${nodes}-${threshold}`, nodes, threshold, 2))
    expect(verify(await readFile(lockFile, 'utf8'))).toEqual({ warnings: [] })
  })
})

describe('lockToJson', () => {
  it.each(FIXTURE_CLUSTERS)('writes what charon writes, but for the letter case of addresses: %s', async (name) => {
    const text = await readFile(loadFixtureCluster(name).lockFile, 'utf8')
    const written = JSON.stringify(lockToJson(parseClusterLock(text, { file: name })), null, 1)
    expect(written.toLowerCase()).toBe(text.trimEnd().toLowerCase())
  })
})
