-- A state database as the schema of version 1 wrote it.
PRAGMA user_version = 1;
BEGIN TRANSACTION;
CREATE TABLE account (
	id VARCHAR NOT NULL, 
	name VARCHAR NOT NULL, 
	roles JSON NOT NULL, 
	password_hash VARCHAR NOT NULL, 
	former_hashes JSON NOT NULL, 
	active BOOLEAN NOT NULL, 
	service BOOLEAN NOT NULL, 
	created_at VARCHAR(32) NOT NULL, 
	password_changed_at VARCHAR(32) NOT NULL, 
	last_login_at VARCHAR(32), 
	disabled_at VARCHAR(32), 
	failed_tries INTEGER NOT NULL, 
	locked_until VARCHAR(32), 
	personal_public_key VARCHAR, 
	personal_key_id VARCHAR, 
	PRIMARY KEY (id)
);
INSERT INTO "account" VALUES('account-olga','olga','["operator"]','$argon2id$none','[]',1,0,'2026-03-04T05:06:07.000000Z','2026-03-04T05:06:07.000000Z',NULL,NULL,0,NULL,NULL,NULL);
CREATE TABLE disk (
	id VARCHAR NOT NULL, 
	guest_id VARCHAR NOT NULL, 
	role VARCHAR NOT NULL, 
	path VARCHAR NOT NULL, 
	size_bytes INTEGER NOT NULL, 
	key_id VARCHAR NOT NULL, 
	known_keyslots JSON NOT NULL, 
	header_sha256 VARCHAR, 
	PRIMARY KEY (id), 
	FOREIGN KEY(guest_id) REFERENCES guest (id)
);
CREATE TABLE finding (
	id VARCHAR NOT NULL, 
	code VARCHAR NOT NULL, 
	severity VARCHAR NOT NULL, 
	resource VARCHAR NOT NULL, 
	sentence VARCHAR NOT NULL, 
	remedy VARCHAR NOT NULL, 
	record VARCHAR, 
	created_at VARCHAR(32) NOT NULL, 
	closed_at VARCHAR(32), 
	PRIMARY KEY (id)
);
INSERT INTO "finding" VALUES('finding-open','disk.keyslot_unknown','critical','guest:guest-1/root','A slot.','Look.','abababababababababababababababab','2026-03-04T05:06:07.000000Z',NULL);
INSERT INTO "finding" VALUES('finding-closed','guest.autostart_failed','high','guest:guest-1','It did not start.','Start it.',NULL,'2026-03-04T05:06:07.000000Z','2026-03-04T05:06:07.000000Z');
CREATE TABLE guest (
	id VARCHAR NOT NULL, 
	name VARCHAR NOT NULL, 
	state VARCHAR NOT NULL, 
	labels JSON NOT NULL, 
	owner VARCHAR NOT NULL, 
	image_id VARCHAR NOT NULL, 
	vcpus INTEGER NOT NULL, 
	memory_bytes INTEGER NOT NULL, 
	uid INTEGER NOT NULL, 
	mac VARCHAR NOT NULL, 
	autostart BOOLEAN NOT NULL, 
	start_order INTEGER NOT NULL, 
	boots_directly BOOLEAN NOT NULL, 
	created_at VARCHAR(32) NOT NULL, 
	started_at VARCHAR(32), 
	deleted_at VARCHAR(32), 
	PRIMARY KEY (id), 
	UNIQUE (uid), 
	UNIQUE (mac)
);
INSERT INTO "guest" VALUES('guest-1','clinic-db','ready','["ephi"]','account-olga','image-1',1,805306368,1000001,'52:54:00:00:00:01',0,0,1,'2026-03-04T05:06:07.000000Z',NULL,NULL);
CREATE TABLE job (
	id VARCHAR NOT NULL, 
	account_id VARCHAR NOT NULL, 
	action VARCHAR NOT NULL, 
	subject VARCHAR NOT NULL, 
	state VARCHAR NOT NULL, 
	percent INTEGER NOT NULL, 
	sentence VARCHAR NOT NULL, 
	result JSON, 
	error JSON, 
	created_at VARCHAR(32) NOT NULL, 
	ended_at VARCHAR(32), 
	PRIMARY KEY (id)
);
INSERT INTO "job" VALUES('job-done','account-olga','guest.create','clinic-db','done',100,'Done.','{"name": "clinic-db"}','null','2026-03-04T05:06:07.000000Z','2026-03-04T05:06:07.000000Z');
INSERT INTO "job" VALUES('job-cut','account-olga','report.create','hipaa','running',40,'Setting the pages.','null','null','2026-03-04T05:06:07.000000Z',NULL);
CREATE TABLE loginsession (
	id VARCHAR NOT NULL, 
	account_id VARCHAR NOT NULL, 
	token_sha256 VARCHAR NOT NULL, 
	channel VARCHAR NOT NULL, 
	label VARCHAR NOT NULL, 
	created_at VARCHAR(32) NOT NULL, 
	last_seen_at VARCHAR(32) NOT NULL, 
	expires_at VARCHAR(32) NOT NULL, 
	ended_at VARCHAR(32), 
	idle_limit_s INTEGER, 
	PRIMARY KEY (id), 
	FOREIGN KEY(account_id) REFERENCES account (id)
);
CREATE TABLE report (
	id VARCHAR NOT NULL, 
	framework VARCHAR NOT NULL, 
	period_from VARCHAR(32) NOT NULL, 
	period_to VARCHAR(32) NOT NULL, 
	created_by VARCHAR NOT NULL, 
	created_at VARCHAR(32) NOT NULL, 
	files JSON NOT NULL, 
	PRIMARY KEY (id)
);
CREATE UNIQUE INDEX ix_account_name ON account (name);
CREATE UNIQUE INDEX one_guest_of_a_name ON guest (name) WHERE state != 'deleted';
CREATE INDEX ix_job_account_id ON job (account_id);
CREATE INDEX ix_finding_code ON finding (code);
CREATE INDEX ix_loginsession_account_id ON loginsession (account_id);
CREATE UNIQUE INDEX ix_loginsession_token_sha256 ON loginsession (token_sha256);
CREATE INDEX ix_disk_guest_id ON disk (guest_id);
COMMIT;
