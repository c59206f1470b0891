/**
 * The beacon stand-in: the few calls that `charon exit sign` makes to a beacon node, answered so that `--all` signs what is asked for now,
 * at the index that it is asked for. It follows no chain and knows of no other validator.
 */

import { routes } from '@dvt-relayer/api/routes.ts'
import type { BeaconValidators } from '@dvt-relayer/api/schemas.ts'
import { toHex } from '@dvt-relayer/common/hex.ts'
import { VERSION } from '@dvt-relayer/common/version.ts'
import type { Bind } from '../../bind.ts'
import type { ApiContext } from '../../context.ts'
import { Rendered, renderList } from '../../rendered.ts'
import { ifOpened } from './hand-in.ts'

const FAR_FUTURE_EPOCH = String(2n ** 64n - 1n)
/** Validators that wait for their activation: charon signs exits of these. Both words may be asked for. */
const STATUS = 'pending_queued'
const STATUSES: readonly string[] = [STATUS, 'pending']

/** Adds the routes. */
export function beaconRoutes(bind: Bind, { config, services }: ApiContext): void {
  const { network } = config
  const opened = ifOpened(config)

  bind(
    routes.getBeaconSyncing,
    async () => {
      const slot = Math.floor((Date.now() / 1000 - network.genesisTimestamp) / network.secondsPerSlot)
      return {
        data: {
          head_slot: String(Math.max(0, slot)),
          sync_distance: '0',
          is_syncing: false,
          is_optimistic: false,
          el_offline: false,
        },
      }
    },
    opened,
  )

  bind(routes.getBeaconVersion, async () => ({ data: { version: `dvt-relayer/${VERSION}` } }), opened)

  bind(
    routes.getBeaconSpec,
    async () => ({
      data: {
        CONFIG_NAME: network.name,
        GENESIS_FORK_VERSION: toHex(network.genesisForkVersion),
        CAPELLA_FORK_VERSION: toHex(network.capellaForkVersion),
        CAPELLA_FORK_EPOCH: String(network.capellaEpoch),
        SECONDS_PER_SLOT: String(network.secondsPerSlot),
        SLOTS_PER_EPOCH: String(network.slotsPerEpoch),
        DOMAIN_VOLUNTARY_EXIT: '0x04000000',
        DOMAIN_DEPOSIT: '0x03000000',
        FAR_FUTURE_EPOCH,
      },
    }),
    opened,
  )

  bind(
    routes.getBeaconGenesis,
    async () => ({
      data: {
        genesis_time: String(network.genesisTimestamp),
        genesis_validators_root: toHex(network.genesisValidatorsRoot),
        genesis_fork_version: toHex(network.genesisForkVersion),
      },
    }),
    opened,
  )

  bind(
    routes.postBeaconValidators,
    async ({ body }) => {
      const { ids, statuses } = body
      const isWanted = statuses == null || statuses.length === 0 || statuses.some((status) => STATUSES.includes(status))
      const found = isWanted ? await services.openExits.find(ids ?? []) : []
      return new Rendered(
        await renderList('{"execution_optimistic":false,"finalized":false,"data":[', found, render, ']}'),
      )
    },
    opened,
  )
}

type OpenExit = Awaited<ReturnType<ApiContext['services']['openExits']['find']>>[number]

function render({ publicKey, validatorIndex }: OpenExit): string {
  const validator: BeaconValidators['data'][number] = {
    index: String(validatorIndex),
    balance: '0',
    status: STATUS,
    validator: {
      pubkey: toHex(publicKey),
      withdrawal_credentials: toHex(new Uint8Array(32)),
      effective_balance: '0',
      slashed: false,
      activation_eligibility_epoch: FAR_FUTURE_EPOCH,
      activation_epoch: FAR_FUTURE_EPOCH,
      exit_epoch: FAR_FUTURE_EPOCH,
      withdrawable_epoch: FAR_FUTURE_EPOCH,
    },
  }
  return JSON.stringify(validator)
}
