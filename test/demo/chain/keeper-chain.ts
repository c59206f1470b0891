/** The chain of generation 3: hoodi's Keeper on an EVM node, consensus and IPFS stand-ins. Deposits are beside the point there. */

import { randomBytes } from 'node:crypto'
import { networks } from '@dvt-relayer/chain/networks.ts'
import { startBeacon } from '../../support/chain/beacon.ts'
import { startIpfs } from '../../support/chain/ipfs.ts'
import { makeOracles, oracleConfig } from '../../support/chain/oracles.ts'
import { type Chain, ORACLE_THRESHOLD, ORACLES } from '../story/scene.ts'
import { startEvmNode } from './evm-node.ts'

/** Starts the nodes; the Keeper has announced the oracles then. */
export async function startKeeperChain(running: AsyncDisposableStack): Promise<Chain> {
  const network = networks.hoodi
  const oracles = makeOracles(ORACLES)
  const beacon = running.use(await startBeacon({ network }))
  const ipfs = running.use(await startIpfs())
  const evm = running.use(await startEvmNode(network))
  await evm.announce(ipfs.add(oracleConfig(oracles, ORACLE_THRESHOLD)))
  const sidecar = { NETWORK: network.name, CONSENSUS_ENDPOINT: beacon.url }
  return {
    network,
    description: `The EVM node is ${evm.kind}; its Keeper names ${ORACLES} oracles, ${ORACLE_THRESHOLD} of them rebuild an exit. Consensus and IPFS are stand-ins.`,
    beacon,
    oracles,
    withdrawalAddress: randomBytes(20),
    settings: {
      sidecar,
      relayer: { ...sidecar, EXECUTION_ENDPOINT: evm.url, IPFS_FETCH_ENDPOINTS: ipfs.url },
    },
  }
}
