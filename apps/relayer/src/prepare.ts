/** What must be true before anything is served: clusters and keys are in the database, and the nodes are of our chain. */

import { ChainError } from '@dvt-relayer/chain/errors.ts'
import { BootError, messageOf } from '@dvt-relayer/common/errors.ts'
import { createBlstEngine } from '@dvt-relayer/crypto/bls/blst.ts'
import type { Chain } from './chain.ts'
import type { Context } from './context.ts'
import { importKeyList } from './services/clusters/key-list.ts'
import { createClusters } from './services/clusters/locks.ts'
import { createSsvFileImport } from './services/clusters/ssv-clusters.ts'
import { createSsvFollower, type SsvFollower } from './services/clusters/ssv-follow.ts'
import type { Health } from './services/health.ts'

/**
 * Imports cluster locks, SSV keyshares files and the key list. Returns what follows the registrations of the SSV contract, which the
 * files are compared with; undefined where they are not followed.
 *
 * @throws {BootError} naming the file, and what is wrong with it
 */
export async function importClusters(context: Context): Promise<SsvFollower> {
  const { config, logger } = context
  const engine = createBlstEngine()
  await createClusters(context, engine).importLocks()
  const ssv = createSsvFollower(context, engine)
  if (ssv === undefined && config.ssv.keysharesFiles.length > 0)
    logger.info('SSV_OWNERS is not set: registrations of the SSV contract are not followed')
  await createSsvFileImport(context, engine).run(await ssv?.findStored())
  await importKeyList(context, engine)
  return ssv
}

/** A node of another chain is refused at boot; one that is away is reported, and asked again before it is believed. */
export async function refuseOtherChains(chain: Pick<Chain, 'execution' | 'consensus'>, health: Health): Promise<void> {
  await Promise.all(
    (['execution', 'consensus'] as const).map(async (name) => {
      try {
        await chain[name].checkChain()
        health.report(name)
      } catch (error) {
        if (error instanceof ChainError && error.code === 'CHAIN_MISMATCH')
          throw new BootError('CHAIN_MISMATCH', `${error.message} (${name.toUpperCase()}_ENDPOINT, NETWORK)`, {
            cause: error,
          })
        health.report(name, messageOf(error))
      }
    }),
  )
}
