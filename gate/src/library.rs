//! The folder of policies, read afresh for every question so that an edit needs no restart.

use std::io;
use std::path::{Path, PathBuf};

use policies::document::DOCUMENT_MAX_BYTES;
use policies::{Deployment, PolicyInForce, PolicySet};
use tokio::fs;
use tokio::io::AsyncReadExt;

/// What a policy's file name ends with.
pub(crate) const ENDING: &str = ".policy.yaml";
/// Policies in one folder.
const POLICIES_MAX: usize = 1000;

/// The folder.
#[derive(Debug)]
pub(crate) struct Library {
    folder: PathBuf,
}

/// The folder, or a file in it, cannot be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LibraryError {
    #[error("the policy folder {0} cannot be read", path.display())]
    Folder { path: PathBuf, source: io::Error },
    #[error("the policy {0} cannot be read", path.display())]
    File { path: PathBuf, source: io::Error },
    #[error("the policy folder {} has more than {POLICIES_MAX} policies", path.display())]
    TooMany { path: PathBuf },
}

impl Library {
    pub(crate) fn new(folder: PathBuf) -> Self {
        Self { folder }
    }

    /// Reads and checks every `*.policy.yaml` of the folder, in the order of their names.
    pub(crate) async fn read(&self) -> Result<PolicySet, LibraryError> {
        let failed = |source| LibraryError::Folder { path: self.folder.clone(), source };
        let mut entries = fs::read_dir(&self.folder).await.map_err(failed)?;
        let mut paths = Vec::new();
        while let Some(entry) = entries.next_entry().await.map_err(failed)? {
            if entry.file_name().to_string_lossy().ends_with(ENDING) {
                paths.push(entry.path());
            }
            if paths.len() > POLICIES_MAX {
                return Err(LibraryError::TooMany { path: self.folder.clone() });
            }
        }
        paths.sort();
        let mut documents = Vec::new();
        for path in paths {
            let text = read_text(&path).await;
            let text = text.map_err(|source| LibraryError::File { path: path.clone(), source })?;
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            documents.push((name, text));
        }
        Ok(PolicySet::parse(documents.iter().map(|(name, text)| (name.as_str(), text.as_str()))))
    }

    /// The policy for this deployment, as the folder is now. A folder that cannot be read is broken.
    pub(crate) async fn pick(&self, deployment: &Deployment) -> PolicyInForce {
        match self.read().await {
            Ok(set) => set.pick(deployment),
            Err(error) => PolicyInForce::Broken { faults: vec![crate::cli::story(&error)] },
        }
    }

    /// The policy of this name, `NAME` for `NAME.policy.yaml`: whoever asks named it, so no other will do.
    pub(crate) async fn named(&self, name: &str) -> PolicyInForce {
        let set = match self.read().await {
            Ok(set) => set,
            Err(error) => {
                return PolicyInForce::Broken { faults: vec![crate::cli::story(&error)] };
            }
        };
        // Compared with names that are there, so that no path leads anywhere.
        let wanted = format!("{name}{ENDING}");
        match set.files().iter().find(|file| file.name == wanted) {
            Some(file) if file.policy.is_some() => {
                PolicyInForce::Chosen { file: file.name.clone(), text: file.text.clone() }
            }
            Some(file) => {
                let faults = file.errors().map(policies::Fault::one_line).collect();
                PolicyInForce::Broken { faults }
            }
            None => {
                let fault = format!("whoever asks names policy `{name}`, and there is no {wanted}");
                PolicyInForce::Broken { faults: vec![fault] }
            }
        }
    }
}

/// Reads a policy, and just enough of a too large one for the check to refuse it.
pub(crate) async fn read_text(path: &Path) -> io::Result<String> {
    let mut bytes = Vec::new();
    let file = fs::File::open(path).await?;
    file.take(DOCUMENT_MAX_BYTES as u64 + 1).read_to_end(&mut bytes).await?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}
