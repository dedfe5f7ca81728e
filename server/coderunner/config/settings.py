"""The settings as the program sees them: checked and frozen. Meanings and units: `declared.py`."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """One field a setting, named as in `.env` in small letters. Durations are milliseconds, sizes bytes."""

    app_env: str
    host: str
    port: int
    reload: str
    log_level: str
    log_format: str
    instance_name: str
    state_dir: str
    shutdown_grace: int
    worker_threads: int
    max_concurrent_sessions: int
    max_queue_size: int
    queue_timeout: int
    sessions_per_address: int
    sessions_per_principal: int
    docker_host: str | None
    docker_memory: int
    docker_cpus: float
    docker_timeout: int
    docker_cmd_timeout: int
    docker_runtime: str | None
    disk_read_limit: tuple[str, int] | None
    network_prefix: str
    max_groups: int
    group_members: int
    group_address_pool: str
    session_uid_base: int
    session_uid_count: int
    session_ttl: int
    session_idle_timeout: int
    session_resume_min: int
    session_resume_max: int
    view_ttl: int
    cleanup_interval: int
    watchdog_interval: int
    buffer_memory: int
    max_file_size: int
    max_archive_size: int
    max_files_per_session: int
    languages: tuple[str, ...]
    warm_floor: int
    warm_max: int
    canary: str
    allowed_hosts: tuple[str, ...]
    allowed_origins: tuple[str, ...]
    trusted_proxies: tuple[str, ...]
    admin_key: str | None = field(repr=False)

    @property
    def production(self) -> bool:
        return self.app_env == "production"
