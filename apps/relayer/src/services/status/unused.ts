/** Of what may be asked for and is not: the status page says so instead of that it works. */

import type { Status } from '@dvt-relayer/api/schemas.ts'
import type { RelayerConfig } from '../../config.ts'
import type { Dependency } from '../../metrics.ts'
import { scopeOf } from '../clusters/ssv-follow.ts'

type Unused = Status['unused'][string]

const off = (why: string): Unused => ({ state: 'not configured', why })
const ELSEWHERE: Unused = { state: 'done by workers', why: '/ready of each worker says how it goes' }

/** Which parts are not in use at this process, by their names in `/ready`. `isRegistryBegun` is undefined where that is not known. */
export function findUnused(
  config: Pick<RelayerConfig, 'manager' | 'vaults' | 'rotation' | 'ssv' | 'network' | 'role'>,
  isRegistryBegun: boolean | undefined,
): Partial<Record<Dependency, Unused>> {
  const { manager, vaults, rotation, ssv, network, role } = config
  const unused: Partial<Record<Dependency, Unused>> = {}
  if (manager === undefined)
    unused.manager = off('VALIDATORS_MANAGER_KEY_FILE is not set: nothing is signed for vaults')
  else if (vaults === undefined) unused.manager = off('VAULTS is not set: each vault is compared when it asks')
  if (manager === undefined && isRegistryBegun === false)
    unused.registry = { state: 'not needed yet', why: 'no POST /register has asked for the deposits on chain' }
  // A worker may have other settings.
  if (role === 'api') return { ...unused, rotation: ELSEWHERE, ssv: ELSEWHERE }
  if (!rotation.enabled) unused.rotation = off('ROTATION is off')
  if (scopeOf({ ssv, network }) === undefined)
    unused.ssv = off(ssv.owners.length === 0 ? 'SSV_OWNERS is not set' : `${network.name} has no SSV contract`)
  return unused
}
