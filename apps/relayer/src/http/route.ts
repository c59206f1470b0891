/** What every route is given, and how a route of the contract becomes one of fastify's. */

import type { RouteContract } from '@dvt-relayer/api/routes.ts'
import { ErrorResponse } from '@dvt-relayer/api/schemas.ts'
import type { Logger } from '@dvt-relayer/common/logger.ts'
import type { FastifyRequest } from 'fastify'
import type { RelayerConfig } from '../config.ts'
import type { Events } from '../events.ts'
import type { Vaults } from '../services/beacon-status/vaults.ts'
import type { Exits } from '../services/exits/exits.ts'
import type { OwnerCopies } from '../services/exits/owner-copies.ts'
import type { Health } from '../services/health.ts'
import type { OracleFetch } from '../services/oracles/fetch.ts'
import type { OracleShares } from '../services/oracles/shares.ts'
import type { Manager } from '../services/registrations/manager.ts'
import type { RegistrationService } from '../services/registrations/registrations.ts'
import type { VaultActions } from '../services/registrations/vault-actions.ts'
import type { Rotation } from '../services/rotation/rotation.ts'
import type { SidecarLists } from '../services/signatures/sidecar-lists.ts'
import type { Submission } from '../services/signatures/submit.ts'
import type { Auth, Caller } from './auth.ts'

/** What the routes ask for. */
export interface HttpContext {
  config: RelayerConfig
  auth: Auth
  events: Events
  logger: Logger
  services: {
    exits: Exits
    signatures: Submission
    oracleShares: OracleShares
    oracleFetch: OracleFetch
    ownerCopies: OwnerCopies
    registrations: RegistrationService
    vaultActions: VaultActions
    vaults: Vaults
    rotation: Rotation
    manager: Manager
    lists: SidecarLists
    health: Health
  }
  /** Aborted when the process stops: long polls end. */
  stopping: AbortSignal
}

declare module 'fastify' {
  interface FastifyRequest {
    /** Who calls; set before any handler runs. */
    caller: Caller
    /** Whether the answer may wait for a change, so that its time says nothing. */
    isLongPoll: boolean
  }
}

/** Options of a fastify route from its contract. */
export function routeOptions(contract: RouteContract, auth: Auth) {
  return {
    method: contract.method,
    url: contract.path,
    schema: {
      summary: contract.summary,
      ...(contract.params === undefined ? {} : { params: contract.params }),
      ...(contract.query === undefined ? {} : { querystring: contract.query }),
      ...(contract.body === undefined ? {} : { body: contract.body }),
      response: { '2xx': contract.response, '4xx': ErrorResponse, '5xx': ErrorResponse } as Record<string, unknown>,
    },
    // Before the body is read: who may not call costs no memory.
    onRequest: async (request: FastifyRequest) => {
      request.caller = auth.authenticate(request, contract.access, contract.path)
    },
    // Answers are built by our own code from checked values and compared with the contract in tests; no second pass over megabytes.
    serializerCompiler: () => (answer: unknown) => JSON.stringify(answer),
  }
}
