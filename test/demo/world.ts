/** What is around relayer and sidecars: the cluster's key material, the chain, IPFS and the oracles. */

import { randomBytes } from 'node:crypto'
import { type Network, networks } from '@dvt-relayer/chain/networks.ts'
import { type Beacon, startBeacon } from '../support/chain/beacon.ts'
import { type Ipfs, startIpfs } from '../support/chain/ipfs.ts'
import { makeOracles, oracleConfig, type TestOracle } from '../support/chain/oracles.ts'
import { type MadeCluster, makeCluster } from '../support/make-cluster.ts'
import { type EvmNode, startEvmNode } from './evm-node.ts'
import type { Home } from './home.ts'

export const NODES = 4
export const THRESHOLD = 3
export const VALIDATORS = 10
export const ORACLES = 11
export const ORACLE_THRESHOLD = 7

export interface Chain {
  evm: EvmNode
  beacon: Beacon
  ipfs: Ipfs
}

export interface World extends AsyncDisposable {
  readonly network: Network
  readonly oracles: readonly TestOracle[]
  /** Makes a cluster of so many validators, in the folder layout that charon leaves. */
  makeCluster(validators: number): Promise<MadeCluster>
  /** Starts the nodes; the Keeper has announced the oracles then. */
  startChain(): Promise<Chain>
}

/** Creates the world; nothing runs yet. */
export function createWorld(home: Pick<Home, 'cluster'>): World {
  const network = networks.hoodi
  const oracles = makeOracles(ORACLES)
  const running = new AsyncDisposableStack()
  return {
    network,
    oracles,
    makeCluster: (validators) =>
      makeCluster({
        dir: home.cluster,
        nodes: NODES,
        threshold: THRESHOLD,
        validators,
        network,
        withdrawalAddress: randomBytes(20),
        feeRecipient: randomBytes(20),
        name: 'demo',
      }),
    async startChain() {
      const beacon = running.use(await startBeacon({ network }))
      const ipfs = running.use(await startIpfs())
      const evm = running.use(await startEvmNode(network))
      await evm.announce(ipfs.add(oracleConfig(oracles, ORACLE_THRESHOLD)))
      return { evm, beacon, ipfs }
    },
    [Symbol.asyncDispose]: () => running.disposeAsync(),
  }
}
